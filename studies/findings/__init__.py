"""What a study shows in numbers and words: the result, cautions, failures, intervals, Pareto fronts."""
