// Optuna's page only says that a change failed, and calls a rename a deletion; this says what the server did.
"use strict";
(() => {
  const ask = window.fetch;
  const tell = (words, colour) => {
    document.getElementById("tuner-answer")?.remove();
    const box = document.createElement("div");
    box.id = "tuner-answer";
    box.setAttribute("role", "alert");
    box.style.cssText = "position:fixed;top:1rem;left:50%;transform:translateX(-50%);z-index:3000;max-width:44rem;" +
      `padding:.8rem 1rem;border-radius:4px;background:${colour};color:#fff;font:15px/1.4 system-ui,sans-serif;` +
      "cursor:pointer";
    box.textContent = words;
    box.title = "Click to close";
    box.addEventListener("click", () => box.remove());
    document.body.append(box);
  };
  window.fetch = async (...request) => {
    const answer = await ask(...request);
    const method = (request[1]?.method ?? "GET").toUpperCase();
    if (!answer.ok && method !== "GET") {
      answer.clone().json().then((found) => tell(String(found.reason), "#b3261e"), () => {});
    } else if (method === "POST" && new URL(answer.url).pathname.endsWith("/rename")) {
      tell("The study has its new name. Nothing was deleted.", "#1b6e3c");
    }
    return answer;
  };
})();
