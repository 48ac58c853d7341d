SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE TYPE public.studydirection AS ENUM (
    'NOT_SET',
    'MINIMIZE',
    'MAXIMIZE'
);
CREATE TYPE public.trialintermediatevaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG',
    'NAN'
);
CREATE TYPE public.trialstate AS ENUM (
    'RUNNING',
    'COMPLETE',
    'PRUNED',
    'FAIL',
    'WAITING'
);
CREATE TYPE public.trialvaluetype AS ENUM (
    'FINITE',
    'INF_POS',
    'INF_NEG'
);
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.studies (
    study_id integer NOT NULL,
    study_name character varying(512) NOT NULL
);
CREATE SEQUENCE public.studies_study_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.studies_study_id_seq OWNED BY public.studies.study_id;
CREATE TABLE public.study_directions (
    study_direction_id integer NOT NULL,
    direction public.studydirection NOT NULL,
    study_id integer NOT NULL,
    objective integer NOT NULL
);
CREATE SEQUENCE public.study_directions_study_direction_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_directions_study_direction_id_seq OWNED BY public.study_directions.study_direction_id;
CREATE TABLE public.study_system_attributes (
    study_system_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.study_system_attributes_study_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_system_attributes_study_system_attribute_id_seq OWNED BY public.study_system_attributes.study_system_attribute_id;
CREATE TABLE public.study_user_attributes (
    study_user_attribute_id integer NOT NULL,
    study_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.study_user_attributes_study_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.study_user_attributes_study_user_attribute_id_seq OWNED BY public.study_user_attributes.study_user_attribute_id;
CREATE TABLE public.trial_heartbeats (
    trial_heartbeat_id integer NOT NULL,
    trial_id integer NOT NULL,
    heartbeat timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.trial_heartbeats_trial_heartbeat_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_heartbeats_trial_heartbeat_id_seq OWNED BY public.trial_heartbeats.trial_heartbeat_id;
CREATE TABLE public.trial_intermediate_values (
    trial_intermediate_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    step integer NOT NULL,
    intermediate_value double precision,
    intermediate_value_type public.trialintermediatevaluetype NOT NULL
);
CREATE SEQUENCE public.trial_intermediate_values_trial_intermediate_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_intermediate_values_trial_intermediate_value_id_seq OWNED BY public.trial_intermediate_values.trial_intermediate_value_id;
CREATE TABLE public.trial_params (
    param_id integer NOT NULL,
    trial_id integer,
    param_name character varying(512),
    param_value double precision,
    distribution_json text
);
CREATE SEQUENCE public.trial_params_param_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_params_param_id_seq OWNED BY public.trial_params.param_id;
CREATE TABLE public.trial_system_attributes (
    trial_system_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.trial_system_attributes_trial_system_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_system_attributes_trial_system_attribute_id_seq OWNED BY public.trial_system_attributes.trial_system_attribute_id;
CREATE TABLE public.trial_user_attributes (
    trial_user_attribute_id integer NOT NULL,
    trial_id integer,
    key character varying(512),
    value_json text
);
CREATE SEQUENCE public.trial_user_attributes_trial_user_attribute_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_user_attributes_trial_user_attribute_id_seq OWNED BY public.trial_user_attributes.trial_user_attribute_id;
CREATE TABLE public.trial_values (
    trial_value_id integer NOT NULL,
    trial_id integer NOT NULL,
    objective integer NOT NULL,
    value double precision,
    value_type public.trialvaluetype NOT NULL
);
CREATE SEQUENCE public.trial_values_trial_value_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trial_values_trial_value_id_seq OWNED BY public.trial_values.trial_value_id;
CREATE TABLE public.trials (
    trial_id integer NOT NULL,
    number integer,
    study_id integer,
    state public.trialstate NOT NULL,
    datetime_start timestamp without time zone,
    datetime_complete timestamp without time zone
);
CREATE SEQUENCE public.trials_trial_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.trials_trial_id_seq OWNED BY public.trials.trial_id;
CREATE TABLE public.tuner_backbones (
    backbone_id integer NOT NULL,
    study_id integer NOT NULL,
    fingerprint character varying(128) NOT NULL,
    backbone_index integer NOT NULL,
    kind character varying(16) NOT NULL,
    config json NOT NULL,
    data_fingerprint character varying(128) NOT NULL,
    train_counts json NOT NULL,
    metrics json NOT NULL,
    norms json NOT NULL,
    parameters bigint NOT NULL,
    device text NOT NULL,
    seconds double precision NOT NULL,
    cached boolean NOT NULL
);
CREATE SEQUENCE public.tuner_backbones_backbone_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.tuner_backbones_backbone_id_seq OWNED BY public.tuner_backbones.backbone_id;
CREATE TABLE public.tuner_classes (
    trial_id integer NOT NULL,
    split character varying(16) NOT NULL,
    correct json NOT NULL,
    total json NOT NULL
);
CREATE TABLE public.tuner_epochs (
    epoch_id integer NOT NULL,
    backbone_id integer,
    trial_id integer,
    epoch integer NOT NULL,
    metrics json NOT NULL,
    CONSTRAINT ck_tuner_epochs_one_owner CHECK (((backbone_id IS NULL) <> (trial_id IS NULL)))
);
CREATE SEQUENCE public.tuner_epochs_epoch_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.tuner_epochs_epoch_id_seq OWNED BY public.tuner_epochs.epoch_id;
CREATE TABLE public.tuner_jobs (
    job_id integer NOT NULL,
    study_id integer NOT NULL,
    token character varying(32) NOT NULL,
    kind character varying(16) NOT NULL,
    state character varying(16) NOT NULL,
    backbone_index integer NOT NULL,
    round integer NOT NULL,
    attempts integer NOT NULL,
    reason text,
    backbone_id integer,
    created timestamp without time zone NOT NULL,
    finished timestamp without time zone
);
CREATE SEQUENCE public.tuner_jobs_job_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.tuner_jobs_job_id_seq OWNED BY public.tuner_jobs.job_id;
CREATE TABLE public.tuner_posthoc (
    posthoc_id integer NOT NULL,
    backbone_id integer NOT NULL,
    config json NOT NULL,
    metrics json NOT NULL,
    norms json NOT NULL
);
CREATE SEQUENCE public.tuner_posthoc_posthoc_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.tuner_posthoc_posthoc_id_seq OWNED BY public.tuner_posthoc.posthoc_id;
CREATE TABLE public.tuner_progress (
    study_id integer NOT NULL,
    updated timestamp without time zone NOT NULL,
    seconds_left double precision,
    running json NOT NULL
);
CREATE TABLE public.tuner_readings (
    reading_id integer NOT NULL,
    study_id integer NOT NULL,
    role character varying(64) NOT NULL,
    config_sha256 character varying(64) NOT NULL,
    config json NOT NULL,
    metrics json NOT NULL,
    norms json NOT NULL,
    train_counts json NOT NULL,
    correct json NOT NULL,
    total json NOT NULL,
    temperature double precision NOT NULL,
    trial_id integer,
    backbone character varying(128),
    read_at timestamp without time zone NOT NULL
);
CREATE SEQUENCE public.tuner_readings_reading_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.tuner_readings_reading_id_seq OWNED BY public.tuner_readings.reading_id;
CREATE TABLE public.tuner_schema (
    id integer NOT NULL,
    version integer NOT NULL,
    CONSTRAINT ck_tuner_schema_one_row CHECK ((id = 1))
);
CREATE TABLE public.tuner_studies (
    study_id integer NOT NULL,
    state character varying(16) NOT NULL,
    stop_requested character varying(16),
    space_yaml text NOT NULL,
    space_sha256 character varying(64) NOT NULL,
    objective character varying(128) NOT NULL,
    created timestamp without time zone NOT NULL,
    data_fingerprint character varying(128),
    class_names json NOT NULL,
    train_counts json NOT NULL,
    notes json NOT NULL
);
CREATE TABLE public.tuner_trials (
    trial_id integer NOT NULL,
    job_id integer NOT NULL,
    "position" integer NOT NULL,
    role character varying(64) NOT NULL,
    config json NOT NULL,
    metrics json NOT NULL,
    norms json NOT NULL,
    temperature double precision,
    notes json NOT NULL,
    reason text,
    seconds double precision
);
CREATE TABLE public.version_info (
    version_info_id integer NOT NULL,
    schema_version integer,
    library_version character varying(256),
    CONSTRAINT version_info_version_info_id_check CHECK ((version_info_id = 1))
);
ALTER TABLE ONLY public.studies ALTER COLUMN study_id SET DEFAULT nextval('public.studies_study_id_seq'::regclass);
ALTER TABLE ONLY public.study_directions ALTER COLUMN study_direction_id SET DEFAULT nextval('public.study_directions_study_direction_id_seq'::regclass);
ALTER TABLE ONLY public.study_system_attributes ALTER COLUMN study_system_attribute_id SET DEFAULT nextval('public.study_system_attributes_study_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.study_user_attributes ALTER COLUMN study_user_attribute_id SET DEFAULT nextval('public.study_user_attributes_study_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_heartbeats ALTER COLUMN trial_heartbeat_id SET DEFAULT nextval('public.trial_heartbeats_trial_heartbeat_id_seq'::regclass);
ALTER TABLE ONLY public.trial_intermediate_values ALTER COLUMN trial_intermediate_value_id SET DEFAULT nextval('public.trial_intermediate_values_trial_intermediate_value_id_seq'::regclass);
ALTER TABLE ONLY public.trial_params ALTER COLUMN param_id SET DEFAULT nextval('public.trial_params_param_id_seq'::regclass);
ALTER TABLE ONLY public.trial_system_attributes ALTER COLUMN trial_system_attribute_id SET DEFAULT nextval('public.trial_system_attributes_trial_system_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_user_attributes ALTER COLUMN trial_user_attribute_id SET DEFAULT nextval('public.trial_user_attributes_trial_user_attribute_id_seq'::regclass);
ALTER TABLE ONLY public.trial_values ALTER COLUMN trial_value_id SET DEFAULT nextval('public.trial_values_trial_value_id_seq'::regclass);
ALTER TABLE ONLY public.trials ALTER COLUMN trial_id SET DEFAULT nextval('public.trials_trial_id_seq'::regclass);
ALTER TABLE ONLY public.tuner_backbones ALTER COLUMN backbone_id SET DEFAULT nextval('public.tuner_backbones_backbone_id_seq'::regclass);
ALTER TABLE ONLY public.tuner_epochs ALTER COLUMN epoch_id SET DEFAULT nextval('public.tuner_epochs_epoch_id_seq'::regclass);
ALTER TABLE ONLY public.tuner_jobs ALTER COLUMN job_id SET DEFAULT nextval('public.tuner_jobs_job_id_seq'::regclass);
ALTER TABLE ONLY public.tuner_posthoc ALTER COLUMN posthoc_id SET DEFAULT nextval('public.tuner_posthoc_posthoc_id_seq'::regclass);
ALTER TABLE ONLY public.tuner_readings ALTER COLUMN reading_id SET DEFAULT nextval('public.tuner_readings_reading_id_seq'::regclass);
INSERT INTO public.alembic_version VALUES ('v3.2.0.a');
INSERT INTO public.studies VALUES (1, 'tail');
INSERT INTO public.studies VALUES (2, 'other');
INSERT INTO public.study_directions VALUES (1, 'MAXIMIZE', 1, 0);
INSERT INTO public.study_directions VALUES (2, 'MAXIMIZE', 2, 0);
INSERT INTO public.study_system_attributes VALUES (1, 1, 'study:metric_names', '["val.balanced_accuracy"]');
INSERT INTO public.study_system_attributes VALUES (2, 2, 'study:metric_names', '["val.few"]');
INSERT INTO public.trial_params VALUES (1, 1, 'stage1.lr', 0.01, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (2, 1, 'stage2.epochs', 1, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 20}}');
INSERT INTO public.trial_params VALUES (3, 1, 'stage2.loss', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["ce", "cb_ce", "ldam"]}}');
INSERT INTO public.trial_params VALUES (4, 1, 'stage2.maxnorm_radius', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": [null, 0.5, 1.0]}}');
INSERT INTO public.trial_params VALUES (5, 1, 'stage2.weight_decay', 0, '{"name": "FloatDistribution", "attributes": {"step": 0.025, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO public.trial_params VALUES (6, 2, 'stage1.lr', 0.01, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (7, 2, 'stage2.epochs', 2, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 20}}');
INSERT INTO public.trial_params VALUES (8, 2, 'stage2.loss', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": ["ce", "cb_ce", "ldam"]}}');
INSERT INTO public.trial_params VALUES (9, 2, 'stage2.maxnorm_radius', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": [null, 0.5, 1.0]}}');
INSERT INTO public.trial_params VALUES (10, 2, 'stage2.weight_decay', 0.025, '{"name": "FloatDistribution", "attributes": {"step": 0.025, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO public.trial_params VALUES (11, 3, 'stage1.lr', 0.01, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (12, 3, 'stage2.epochs', 3, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 20}}');
INSERT INTO public.trial_params VALUES (13, 3, 'stage2.loss', 2, '{"name": "CategoricalDistribution", "attributes": {"choices": ["ce", "cb_ce", "ldam"]}}');
INSERT INTO public.trial_params VALUES (14, 3, 'stage2.maxnorm_radius', 2, '{"name": "CategoricalDistribution", "attributes": {"choices": [null, 0.5, 1.0]}}');
INSERT INTO public.trial_params VALUES (15, 3, 'stage2.weight_decay', 0.05, '{"name": "FloatDistribution", "attributes": {"step": 0.025, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO public.trial_params VALUES (16, 4, 'stage1.lr', 0.01, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (17, 4, 'stage2.epochs', 1, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 20}}');
INSERT INTO public.trial_params VALUES (18, 4, 'stage2.loss', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["ce", "cb_ce", "ldam"]}}');
INSERT INTO public.trial_params VALUES (19, 4, 'stage2.maxnorm_radius', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": [null, 0.5, 1.0]}}');
INSERT INTO public.trial_params VALUES (20, 4, 'stage2.weight_decay', 0, '{"name": "FloatDistribution", "attributes": {"step": 0.025, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO public.trial_params VALUES (21, 5, 'stage1.lr', 0.01, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (22, 5, 'stage2.epochs', 1, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 20}}');
INSERT INTO public.trial_params VALUES (23, 5, 'stage2.loss', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": ["ce", "cb_ce", "ldam"]}}');
INSERT INTO public.trial_params VALUES (24, 5, 'stage2.maxnorm_radius', 0, '{"name": "CategoricalDistribution", "attributes": {"choices": [null, 0.5, 1.0]}}');
INSERT INTO public.trial_params VALUES (25, 5, 'stage2.weight_decay', 0, '{"name": "FloatDistribution", "attributes": {"step": 0.025, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO public.trial_params VALUES (26, 6, 'stage1.lr', 0.01, '{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0001, "high": 1.0, "log": true}}');
INSERT INTO public.trial_params VALUES (27, 6, 'stage2.epochs', 2, '{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 1, "high": 20}}');
INSERT INTO public.trial_params VALUES (28, 6, 'stage2.loss', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": ["ce", "cb_ce", "ldam"]}}');
INSERT INTO public.trial_params VALUES (29, 6, 'stage2.maxnorm_radius', 1, '{"name": "CategoricalDistribution", "attributes": {"choices": [null, 0.5, 1.0]}}');
INSERT INTO public.trial_params VALUES (30, 6, 'stage2.weight_decay', 0.025, '{"name": "FloatDistribution", "attributes": {"step": 0.025, "low": 0.0, "high": 0.1, "log": false}}');
INSERT INTO public.trial_user_attributes VALUES (1, 1, 'role', '"search"');
INSERT INTO public.trial_user_attributes VALUES (2, 1, 'backbone', '0');
INSERT INTO public.trial_user_attributes VALUES (3, 1, 'round', '0');
INSERT INTO public.trial_user_attributes VALUES (4, 2, 'role', '"search"');
INSERT INTO public.trial_user_attributes VALUES (5, 2, 'backbone', '0');
INSERT INTO public.trial_user_attributes VALUES (6, 2, 'round', '0');
INSERT INTO public.trial_user_attributes VALUES (7, 3, 'role', '"search"');
INSERT INTO public.trial_user_attributes VALUES (8, 3, 'backbone', '0');
INSERT INTO public.trial_user_attributes VALUES (9, 3, 'round', '0');
INSERT INTO public.trial_user_attributes VALUES (10, 1, 'val.many', '0.9');
INSERT INTO public.trial_user_attributes VALUES (11, 1, 'val.medium', '0.5');
INSERT INTO public.trial_user_attributes VALUES (12, 1, 'norm.slope', '-0.25');
INSERT INTO public.trial_user_attributes VALUES (13, 2, 'val.many', '0.9');
INSERT INTO public.trial_user_attributes VALUES (14, 2, 'val.medium', '0.5');
INSERT INTO public.trial_user_attributes VALUES (15, 2, 'norm.slope', '-0.25');
INSERT INTO public.trial_user_attributes VALUES (16, 3, 'reason', '"loss is nan in epoch 3"');
INSERT INTO public.trial_user_attributes VALUES (17, 4, 'role', '"naive"');
INSERT INTO public.trial_user_attributes VALUES (18, 4, 'backbone', '0');
INSERT INTO public.trial_user_attributes VALUES (19, 4, 'round', '0');
INSERT INTO public.trial_user_attributes VALUES (20, 4, 'reason', '"worker killed"');
INSERT INTO public.trial_user_attributes VALUES (21, 5, 'role', '"search"');
INSERT INTO public.trial_user_attributes VALUES (22, 5, 'backbone', '1');
INSERT INTO public.trial_user_attributes VALUES (23, 5, 'round', '0');
INSERT INTO public.trial_user_attributes VALUES (24, 6, 'role', '"search"');
INSERT INTO public.trial_user_attributes VALUES (25, 6, 'backbone', '1');
INSERT INTO public.trial_user_attributes VALUES (26, 6, 'round', '0');
INSERT INTO public.trial_values VALUES (1, 1, 0, 0.5, 'FINITE');
INSERT INTO public.trial_values VALUES (2, 2, 0, 0.51, 'FINITE');
INSERT INTO public.trials VALUES (1, 0, 1, 'COMPLETE', '2026-11-25 02:27:21.331018', '2026-11-25 02:27:21.343764');
INSERT INTO public.trials VALUES (2, 1, 1, 'COMPLETE', '2026-11-25 02:27:21.331018', '2026-11-25 02:27:21.343764');
INSERT INTO public.trials VALUES (3, 2, 1, 'FAIL', '2026-11-25 02:27:21.331018', '2026-11-25 02:27:21.343764');
INSERT INTO public.trials VALUES (4, 3, 1, 'FAIL', '2026-11-25 02:27:21.357981', '2026-11-25 02:27:21.365411');
INSERT INTO public.trials VALUES (5, 4, 1, 'RUNNING', '2026-11-25 02:27:21.368991', NULL);
INSERT INTO public.trials VALUES (6, 5, 1, 'RUNNING', '2026-11-25 02:27:21.368991', NULL);
INSERT INTO public.tuner_backbones VALUES (1, 1, 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', 0, 'search', '{"task.dataset":"digits-lt","task.data":null,"task.imbalance_factor":50.0,"task.profile":"exp","task.selection":"seed0","task.max_count":null,"task.protocol":"honest","task.val_per_class":20,"task.split_seed":0,"task.model":"cnn-small","task.pretrained":false,"task.augment":"auto","task.image_size":null,"task.many":100,"task.few":20,"task.flip_average":false,"task.download":false,"stage1.loss":"ce","stage1.beta":0.9999,"stage1.gamma":null,"stage1.tau":1.0,"stage1.max_margin":0.5,"stage1.scale":30.0,"stage1.drw":null,"stage1.classifier":"linear","stage1.feature_regularization":0.0,"stage1.epochs":40,"stage1.batch_size":64,"stage1.lr":0.01,"stage1.momentum":0.9,"stage1.weight_decay":0.005,"stage1.schedule":"cosine","stage1.precision":"auto","stage1.seed":0}', 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', '[100,20,2]', '{"val.balanced_accuracy":0.4,"stage1.fdr":1.5}', '[2.0,1.5,0.5]', 3000000000, 'cpu', 1.25, false);
INSERT INTO public.tuner_classes VALUES (1, 'val', '[9,5,0]', '[10,10,0]');
INSERT INTO public.tuner_classes VALUES (1, 'test', '[9,5,0]', '[10,10,0]');
INSERT INTO public.tuner_classes VALUES (2, 'val', '[9,5,0]', '[10,10,0]');
INSERT INTO public.tuner_classes VALUES (2, 'test', '[9,5,0]', '[10,10,0]');
INSERT INTO public.tuner_epochs VALUES (1, 1, NULL, 1, '{"loss":1.0}');
INSERT INTO public.tuner_epochs VALUES (2, 1, NULL, 2, '{"loss":0.5}');
INSERT INTO public.tuner_epochs VALUES (3, 1, NULL, 3, '{"loss":0.3333333333333333}');
INSERT INTO public.tuner_epochs VALUES (4, NULL, 1, 1, '{"loss":2.0}');
INSERT INTO public.tuner_epochs VALUES (5, NULL, 1, 2, '{"loss":1.0}');
INSERT INTO public.tuner_epochs VALUES (6, NULL, 2, 1, '{"loss":2.0}');
INSERT INTO public.tuner_epochs VALUES (7, NULL, 2, 2, '{"loss":1.0}');
INSERT INTO public.tuner_jobs VALUES (1, 1, 'c17462ac62ec4bb09fc9146e55317377', 'search', 'done', 0, 0, 1, NULL, 1, '2026-11-25 02:27:21.331018', '2026-11-25 02:27:21.343764');
INSERT INTO public.tuner_jobs VALUES (2, 1, '17ade2da3cf643979b5256d791e23ccd', 'baseline', 'failed', 0, 0, 1, 'worker killed', NULL, '2026-11-25 02:27:21.357981', '2026-11-25 02:27:21.365411');
INSERT INTO public.tuner_jobs VALUES (3, 1, 'f7cfbc5ada904a76b41b7a33d80b6685', 'search', 'running', 1, 0, 2, NULL, NULL, '2026-11-25 02:27:21.368991', NULL);
INSERT INTO public.tuner_posthoc VALUES (1, 1, '{"task.dataset":"digits-lt","task.data":null,"task.imbalance_factor":50.0,"task.profile":"exp","task.selection":"seed0","task.max_count":null,"task.protocol":"honest","task.val_per_class":20,"task.split_seed":0,"task.model":"cnn-small","task.pretrained":false,"task.augment":"auto","task.image_size":null,"task.many":100,"task.few":20,"task.flip_average":false,"task.download":false,"stage1.loss":"ce","stage1.beta":0.9999,"stage1.gamma":null,"stage1.tau":1.0,"stage1.max_margin":0.5,"stage1.scale":30.0,"stage1.drw":null,"stage1.classifier":"linear","stage1.feature_regularization":0.0,"stage1.epochs":40,"stage1.batch_size":64,"stage1.lr":0.01,"stage1.momentum":0.9,"stage1.weight_decay":0.005,"stage1.schedule":"cosine","stage1.precision":"auto","stage1.seed":0,"stage2.method":"none"}', '{"val.balanced_accuracy":0.4,"val.many":0.9,"val.medium":0.5,"val.few":null,"norm.slope":-0.25}', '[1.0,0.9,0.8]');
INSERT INTO public.tuner_posthoc VALUES (2, 1, '{"task.dataset":"digits-lt","task.data":null,"task.imbalance_factor":50.0,"task.profile":"exp","task.selection":"seed0","task.max_count":null,"task.protocol":"honest","task.val_per_class":20,"task.split_seed":0,"task.model":"cnn-small","task.pretrained":false,"task.augment":"auto","task.image_size":null,"task.many":100,"task.few":20,"task.flip_average":false,"task.download":false,"stage1.loss":"ce","stage1.beta":0.9999,"stage1.gamma":null,"stage1.tau":1.0,"stage1.max_margin":0.5,"stage1.scale":30.0,"stage1.drw":null,"stage1.classifier":"linear","stage1.feature_regularization":0.0,"stage1.epochs":40,"stage1.batch_size":64,"stage1.lr":0.01,"stage1.momentum":0.9,"stage1.weight_decay":0.005,"stage1.schedule":"cosine","stage1.precision":"auto","stage1.seed":0,"stage2.method":"tau_norm","stage2.tau":0.5}', '{"val.balanced_accuracy":0.45,"val.many":0.9,"val.medium":0.5,"val.few":null,"norm.slope":-0.25}', '[1.0,0.9,0.8]');
INSERT INTO public.tuner_progress VALUES (1, '2026-11-01 12:00:00', 90, '[{"what":"job 3","heads":1,"stage":1,"epoch":2,"epochs":4,"images_per_second":null}]');
INSERT INTO public.tuner_readings VALUES (1, 1, 'best', 'd667b39304ebc7115675f58cb73b3edd0b44b2d3160425bf7759716a3c8114be', '{"task.dataset":"digits-lt","task.data":null,"task.imbalance_factor":50.0,"task.profile":"exp","task.selection":"seed0","task.max_count":null,"task.protocol":"honest","task.val_per_class":20,"task.split_seed":0,"task.model":"cnn-small","task.pretrained":false,"task.augment":"auto","task.image_size":null,"task.many":100,"task.few":20,"task.flip_average":false,"task.download":false,"stage1.loss":"ce","stage1.beta":0.9999,"stage1.gamma":null,"stage1.tau":1.0,"stage1.max_margin":0.5,"stage1.scale":30.0,"stage1.drw":null,"stage1.classifier":"linear","stage1.feature_regularization":0.0,"stage1.epochs":40,"stage1.batch_size":64,"stage1.lr":0.01,"stage1.momentum":0.9,"stage1.weight_decay":0.005,"stage1.schedule":"cosine","stage1.precision":"auto","stage1.seed":0,"stage2.method":"weight_balancing","stage2.loss":"cb_ce","stage2.beta":0.9999,"stage2.gamma":null,"stage2.tau":1.0,"stage2.max_margin":0.5,"stage2.scale":30.0,"stage2.epochs":2,"stage2.batch_size":64,"stage2.lr":0.01,"stage2.momentum":0.9,"stage2.weight_decay":0.025,"stage2.maxnorm_radius":0.5,"stage2.radius_unit":"median_norm","stage2.projection":"step","stage2.schedule":"cosine","stage2.features":"default","stage2.epoch_rule":"last","stage2.seed":0}', '{"val.balanced_accuracy":0.51,"val.many":0.9,"val.medium":0.5,"val.few":null,"norm.slope":-0.25}', '[1.0,0.9,0.8]', '[100,20,2]', '[9,5,0]', '[10,10,0]', 1.5, 2, 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', '2026-11-25 02:27:21.378621');
INSERT INTO public.tuner_readings VALUES (2, 1, 'tau_norm', 'd667b39304ebc7115675f58cb73b3edd0b44b2d3160425bf7759716a3c8114be', '{"task.dataset":"digits-lt","task.data":null,"task.imbalance_factor":50.0,"task.profile":"exp","task.selection":"seed0","task.max_count":null,"task.protocol":"honest","task.val_per_class":20,"task.split_seed":0,"task.model":"cnn-small","task.pretrained":false,"task.augment":"auto","task.image_size":null,"task.many":100,"task.few":20,"task.flip_average":false,"task.download":false,"stage1.loss":"ce","stage1.beta":0.9999,"stage1.gamma":null,"stage1.tau":1.0,"stage1.max_margin":0.5,"stage1.scale":30.0,"stage1.drw":null,"stage1.classifier":"linear","stage1.feature_regularization":0.0,"stage1.epochs":40,"stage1.batch_size":64,"stage1.lr":0.01,"stage1.momentum":0.9,"stage1.weight_decay":0.005,"stage1.schedule":"cosine","stage1.precision":"auto","stage1.seed":0,"stage2.method":"weight_balancing","stage2.loss":"cb_ce","stage2.beta":0.9999,"stage2.gamma":null,"stage2.tau":1.0,"stage2.max_margin":0.5,"stage2.scale":30.0,"stage2.epochs":2,"stage2.batch_size":64,"stage2.lr":0.01,"stage2.momentum":0.9,"stage2.weight_decay":0.025,"stage2.maxnorm_radius":0.5,"stage2.radius_unit":"median_norm","stage2.projection":"step","stage2.schedule":"cosine","stage2.features":"default","stage2.epoch_rule":"last","stage2.seed":0}', '{"val.balanced_accuracy":0.51,"val.many":0.9,"val.medium":0.5,"val.few":null,"norm.slope":-0.25}', '[1.0,0.9,0.8]', '[100,20,2]', '[9,5,0]', '[10,10,0]', 1.5, NULL, 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', '2026-11-25 02:27:21.380776');
INSERT INTO public.tuner_schema VALUES (1, 2);
INSERT INTO public.tuner_studies VALUES (1, 'running', 'soft', 'name: tail
', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa', 'val.balanced_accuracy', '2026-11-25 02:27:21.327782', 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd', '["cat","dog","eel"]', '[100,20,2]', '["class eel has one validation image"]');
INSERT INTO public.tuner_studies VALUES (2, 'done', NULL, 'name: other
', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb', 'val.few', '2026-11-25 02:27:21.43069', NULL, '[]', '[]', '[]');
INSERT INTO public.tuner_trials VALUES (1, 1, 0, 'search', '{"task.dataset":"digits-lt","task.data":null,"task.imbalance_factor":50.0,"task.profile":"exp","task.selection":"seed0","task.max_count":null,"task.protocol":"honest","task.val_per_class":20,"task.split_seed":0,"task.model":"cnn-small","task.pretrained":false,"task.augment":"auto","task.image_size":null,"task.many":100,"task.few":20,"task.flip_average":false,"task.download":false,"stage1.loss":"ce","stage1.beta":0.9999,"stage1.gamma":null,"stage1.tau":1.0,"stage1.max_margin":0.5,"stage1.scale":30.0,"stage1.drw":null,"stage1.classifier":"linear","stage1.feature_regularization":0.0,"stage1.epochs":40,"stage1.batch_size":64,"stage1.lr":0.01,"stage1.momentum":0.9,"stage1.weight_decay":0.005,"stage1.schedule":"cosine","stage1.precision":"auto","stage1.seed":0,"stage2.method":"weight_balancing","stage2.loss":"ce","stage2.beta":0.9999,"stage2.gamma":null,"stage2.tau":1.0,"stage2.max_margin":0.5,"stage2.scale":30.0,"stage2.epochs":1,"stage2.batch_size":64,"stage2.lr":0.01,"stage2.momentum":0.9,"stage2.weight_decay":0.0,"stage2.maxnorm_radius":null,"stage2.radius_unit":"median_norm","stage2.projection":"step","stage2.schedule":"cosine","stage2.features":"default","stage2.epoch_rule":"last","stage2.seed":0}', '{"val.balanced_accuracy":0.5,"val.many":0.9,"val.medium":0.5,"val.few":null,"norm.slope":-0.25}', '[1.0,0.9,0.8]', 1.5, '["radius inactive: no row was ever projected"]', NULL, 0.5);
INSERT INTO public.tuner_trials VALUES (2, 1, 1, 'search', '{"task.dataset":"digits-lt","task.data":null,"task.imbalance_factor":50.0,"task.profile":"exp","task.selection":"seed0","task.max_count":null,"task.protocol":"honest","task.val_per_class":20,"task.split_seed":0,"task.model":"cnn-small","task.pretrained":false,"task.augment":"auto","task.image_size":null,"task.many":100,"task.few":20,"task.flip_average":false,"task.download":false,"stage1.loss":"ce","stage1.beta":0.9999,"stage1.gamma":null,"stage1.tau":1.0,"stage1.max_margin":0.5,"stage1.scale":30.0,"stage1.drw":null,"stage1.classifier":"linear","stage1.feature_regularization":0.0,"stage1.epochs":40,"stage1.batch_size":64,"stage1.lr":0.01,"stage1.momentum":0.9,"stage1.weight_decay":0.005,"stage1.schedule":"cosine","stage1.precision":"auto","stage1.seed":0,"stage2.method":"weight_balancing","stage2.loss":"cb_ce","stage2.beta":0.9999,"stage2.gamma":null,"stage2.tau":1.0,"stage2.max_margin":0.5,"stage2.scale":30.0,"stage2.epochs":2,"stage2.batch_size":64,"stage2.lr":0.01,"stage2.momentum":0.9,"stage2.weight_decay":0.025,"stage2.maxnorm_radius":0.5,"stage2.radius_unit":"median_norm","stage2.projection":"step","stage2.schedule":"cosine","stage2.features":"default","stage2.epoch_rule":"last","stage2.seed":0}', '{"val.balanced_accuracy":0.51,"val.many":0.9,"val.medium":0.5,"val.few":null,"norm.slope":-0.25}', '[1.0,0.9,0.8]', 1.5, '["radius inactive: no row was ever projected"]', NULL, 0.5);
INSERT INTO public.tuner_trials VALUES (3, 1, 2, 'search', '{"task.dataset":"digits-lt","task.data":null,"task.imbalance_factor":50.0,"task.profile":"exp","task.selection":"seed0","task.max_count":null,"task.protocol":"honest","task.val_per_class":20,"task.split_seed":0,"task.model":"cnn-small","task.pretrained":false,"task.augment":"auto","task.image_size":null,"task.many":100,"task.few":20,"task.flip_average":false,"task.download":false,"stage1.loss":"ce","stage1.beta":0.9999,"stage1.gamma":null,"stage1.tau":1.0,"stage1.max_margin":0.5,"stage1.scale":30.0,"stage1.drw":null,"stage1.classifier":"linear","stage1.feature_regularization":0.0,"stage1.epochs":40,"stage1.batch_size":64,"stage1.lr":0.01,"stage1.momentum":0.9,"stage1.weight_decay":0.005,"stage1.schedule":"cosine","stage1.precision":"auto","stage1.seed":0,"stage2.method":"weight_balancing","stage2.loss":"ldam","stage2.beta":0.9999,"stage2.gamma":null,"stage2.tau":1.0,"stage2.max_margin":0.5,"stage2.scale":30.0,"stage2.epochs":3,"stage2.batch_size":64,"stage2.lr":0.01,"stage2.momentum":0.9,"stage2.weight_decay":0.05,"stage2.maxnorm_radius":1.0,"stage2.radius_unit":"median_norm","stage2.projection":"step","stage2.schedule":"cosine","stage2.features":"default","stage2.epoch_rule":"last","stage2.seed":0}', '{}', '[]', NULL, '[]', 'loss is nan in epoch 3', NULL);
INSERT INTO public.tuner_trials VALUES (4, 2, 0, 'naive', '{"task.dataset":"digits-lt","task.data":null,"task.imbalance_factor":50.0,"task.profile":"exp","task.selection":"seed0","task.max_count":null,"task.protocol":"honest","task.val_per_class":20,"task.split_seed":0,"task.model":"cnn-small","task.pretrained":false,"task.augment":"auto","task.image_size":null,"task.many":100,"task.few":20,"task.flip_average":false,"task.download":false,"stage1.loss":"ce","stage1.beta":0.9999,"stage1.gamma":null,"stage1.tau":1.0,"stage1.max_margin":0.5,"stage1.scale":30.0,"stage1.drw":null,"stage1.classifier":"linear","stage1.feature_regularization":0.0,"stage1.epochs":40,"stage1.batch_size":64,"stage1.lr":0.01,"stage1.momentum":0.9,"stage1.weight_decay":0.005,"stage1.schedule":"cosine","stage1.precision":"auto","stage1.seed":0,"stage2.method":"weight_balancing","stage2.loss":"ce","stage2.beta":0.9999,"stage2.gamma":null,"stage2.tau":1.0,"stage2.max_margin":0.5,"stage2.scale":30.0,"stage2.epochs":1,"stage2.batch_size":64,"stage2.lr":0.01,"stage2.momentum":0.9,"stage2.weight_decay":0.0,"stage2.maxnorm_radius":null,"stage2.radius_unit":"median_norm","stage2.projection":"step","stage2.schedule":"cosine","stage2.features":"default","stage2.epoch_rule":"last","stage2.seed":0}', '{}', '[]', NULL, '[]', 'worker killed', NULL);
INSERT INTO public.tuner_trials VALUES (5, 3, 0, 'search', '{"task.dataset":"digits-lt","task.data":null,"task.imbalance_factor":50.0,"task.profile":"exp","task.selection":"seed0","task.max_count":null,"task.protocol":"honest","task.val_per_class":20,"task.split_seed":0,"task.model":"cnn-small","task.pretrained":false,"task.augment":"auto","task.image_size":null,"task.many":100,"task.few":20,"task.flip_average":false,"task.download":false,"stage1.loss":"ce","stage1.beta":0.9999,"stage1.gamma":null,"stage1.tau":1.0,"stage1.max_margin":0.5,"stage1.scale":30.0,"stage1.drw":null,"stage1.classifier":"linear","stage1.feature_regularization":0.0,"stage1.epochs":40,"stage1.batch_size":64,"stage1.lr":0.01,"stage1.momentum":0.9,"stage1.weight_decay":0.005,"stage1.schedule":"cosine","stage1.precision":"auto","stage1.seed":0,"stage2.method":"weight_balancing","stage2.loss":"ce","stage2.beta":0.9999,"stage2.gamma":null,"stage2.tau":1.0,"stage2.max_margin":0.5,"stage2.scale":30.0,"stage2.epochs":1,"stage2.batch_size":64,"stage2.lr":0.01,"stage2.momentum":0.9,"stage2.weight_decay":0.0,"stage2.maxnorm_radius":null,"stage2.radius_unit":"median_norm","stage2.projection":"step","stage2.schedule":"cosine","stage2.features":"default","stage2.epoch_rule":"last","stage2.seed":0}', '{}', '[]', NULL, '[]', NULL, NULL);
INSERT INTO public.tuner_trials VALUES (6, 3, 1, 'search', '{"task.dataset":"digits-lt","task.data":null,"task.imbalance_factor":50.0,"task.profile":"exp","task.selection":"seed0","task.max_count":null,"task.protocol":"honest","task.val_per_class":20,"task.split_seed":0,"task.model":"cnn-small","task.pretrained":false,"task.augment":"auto","task.image_size":null,"task.many":100,"task.few":20,"task.flip_average":false,"task.download":false,"stage1.loss":"ce","stage1.beta":0.9999,"stage1.gamma":null,"stage1.tau":1.0,"stage1.max_margin":0.5,"stage1.scale":30.0,"stage1.drw":null,"stage1.classifier":"linear","stage1.feature_regularization":0.0,"stage1.epochs":40,"stage1.batch_size":64,"stage1.lr":0.01,"stage1.momentum":0.9,"stage1.weight_decay":0.005,"stage1.schedule":"cosine","stage1.precision":"auto","stage1.seed":0,"stage2.method":"weight_balancing","stage2.loss":"cb_ce","stage2.beta":0.9999,"stage2.gamma":null,"stage2.tau":1.0,"stage2.max_margin":0.5,"stage2.scale":30.0,"stage2.epochs":2,"stage2.batch_size":64,"stage2.lr":0.01,"stage2.momentum":0.9,"stage2.weight_decay":0.025,"stage2.maxnorm_radius":0.5,"stage2.radius_unit":"median_norm","stage2.projection":"step","stage2.schedule":"cosine","stage2.features":"default","stage2.epoch_rule":"last","stage2.seed":0}', '{}', '[]', NULL, '[]', NULL, NULL);
INSERT INTO public.version_info VALUES (1, 12, '5.0.0');
SELECT pg_catalog.setval('public.studies_study_id_seq', 2, true);
SELECT pg_catalog.setval('public.study_directions_study_direction_id_seq', 2, true);
SELECT pg_catalog.setval('public.study_system_attributes_study_system_attribute_id_seq', 2, true);
SELECT pg_catalog.setval('public.study_user_attributes_study_user_attribute_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_heartbeats_trial_heartbeat_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_intermediate_values_trial_intermediate_value_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_params_param_id_seq', 30, true);
SELECT pg_catalog.setval('public.trial_system_attributes_trial_system_attribute_id_seq', 1, false);
SELECT pg_catalog.setval('public.trial_user_attributes_trial_user_attribute_id_seq', 26, true);
SELECT pg_catalog.setval('public.trial_values_trial_value_id_seq', 2, true);
SELECT pg_catalog.setval('public.trials_trial_id_seq', 6, true);
SELECT pg_catalog.setval('public.tuner_backbones_backbone_id_seq', 1, true);
SELECT pg_catalog.setval('public.tuner_epochs_epoch_id_seq', 7, true);
SELECT pg_catalog.setval('public.tuner_jobs_job_id_seq', 3, true);
SELECT pg_catalog.setval('public.tuner_posthoc_posthoc_id_seq', 2, true);
SELECT pg_catalog.setval('public.tuner_readings_reading_id_seq', 2, true);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.tuner_backbones
    ADD CONSTRAINT pk_tuner_backbones PRIMARY KEY (backbone_id);
ALTER TABLE ONLY public.tuner_classes
    ADD CONSTRAINT pk_tuner_classes PRIMARY KEY (trial_id, split);
ALTER TABLE ONLY public.tuner_epochs
    ADD CONSTRAINT pk_tuner_epochs PRIMARY KEY (epoch_id);
ALTER TABLE ONLY public.tuner_jobs
    ADD CONSTRAINT pk_tuner_jobs PRIMARY KEY (job_id);
ALTER TABLE ONLY public.tuner_posthoc
    ADD CONSTRAINT pk_tuner_posthoc PRIMARY KEY (posthoc_id);
ALTER TABLE ONLY public.tuner_progress
    ADD CONSTRAINT pk_tuner_progress PRIMARY KEY (study_id);
ALTER TABLE ONLY public.tuner_readings
    ADD CONSTRAINT pk_tuner_readings PRIMARY KEY (reading_id);
ALTER TABLE ONLY public.tuner_schema
    ADD CONSTRAINT pk_tuner_schema PRIMARY KEY (id);
ALTER TABLE ONLY public.tuner_studies
    ADD CONSTRAINT pk_tuner_studies PRIMARY KEY (study_id);
ALTER TABLE ONLY public.tuner_trials
    ADD CONSTRAINT pk_tuner_trials PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.studies
    ADD CONSTRAINT studies_pkey PRIMARY KEY (study_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_pkey PRIMARY KEY (study_direction_id);
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_study_id_objective_key UNIQUE (study_id, objective);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_pkey PRIMARY KEY (study_system_attribute_id);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_pkey PRIMARY KEY (study_user_attribute_id);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_key_key UNIQUE (study_id, key);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_pkey PRIMARY KEY (trial_heartbeat_id);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_key UNIQUE (trial_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_pkey PRIMARY KEY (trial_intermediate_value_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_step_key UNIQUE (trial_id, step);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_pkey PRIMARY KEY (param_id);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_trial_id_param_name_key UNIQUE (trial_id, param_name);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_pkey PRIMARY KEY (trial_system_attribute_id);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_pkey PRIMARY KEY (trial_user_attribute_id);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_key_key UNIQUE (trial_id, key);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_pkey PRIMARY KEY (trial_value_id);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_trial_id_objective_key UNIQUE (trial_id, objective);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_pkey PRIMARY KEY (trial_id);
ALTER TABLE ONLY public.tuner_backbones
    ADD CONSTRAINT uq_tuner_backbones_study_id_fingerprint UNIQUE (study_id, fingerprint);
ALTER TABLE ONLY public.tuner_jobs
    ADD CONSTRAINT uq_tuner_jobs_token UNIQUE (token);
ALTER TABLE ONLY public.tuner_readings
    ADD CONSTRAINT uq_tuner_readings_study_id_role_config_sha256 UNIQUE (study_id, role, config_sha256);
ALTER TABLE ONLY public.version_info
    ADD CONSTRAINT version_info_pkey PRIMARY KEY (version_info_id);
CREATE UNIQUE INDEX ix_studies_study_name ON public.studies USING btree (study_name);
CREATE INDEX ix_trials_study_id ON public.trials USING btree (study_id);
CREATE INDEX ix_tuner_epochs_backbone_id ON public.tuner_epochs USING btree (backbone_id);
CREATE INDEX ix_tuner_epochs_trial_id ON public.tuner_epochs USING btree (trial_id);
CREATE INDEX ix_tuner_jobs_study_id ON public.tuner_jobs USING btree (study_id);
CREATE INDEX ix_tuner_posthoc_backbone_id ON public.tuner_posthoc USING btree (backbone_id);
CREATE INDEX ix_tuner_trials_job_id ON public.tuner_trials USING btree (job_id);
ALTER TABLE ONLY public.tuner_backbones
    ADD CONSTRAINT fk_tuner_backbones_study_id FOREIGN KEY (study_id) REFERENCES public.tuner_studies(study_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tuner_classes
    ADD CONSTRAINT fk_tuner_classes_trial_id FOREIGN KEY (trial_id) REFERENCES public.tuner_trials(trial_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tuner_epochs
    ADD CONSTRAINT fk_tuner_epochs_backbone_id FOREIGN KEY (backbone_id) REFERENCES public.tuner_backbones(backbone_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tuner_epochs
    ADD CONSTRAINT fk_tuner_epochs_trial_id FOREIGN KEY (trial_id) REFERENCES public.tuner_trials(trial_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tuner_jobs
    ADD CONSTRAINT fk_tuner_jobs_backbone_id FOREIGN KEY (backbone_id) REFERENCES public.tuner_backbones(backbone_id) ON DELETE SET NULL;
ALTER TABLE ONLY public.tuner_jobs
    ADD CONSTRAINT fk_tuner_jobs_study_id FOREIGN KEY (study_id) REFERENCES public.tuner_studies(study_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tuner_posthoc
    ADD CONSTRAINT fk_tuner_posthoc_backbone_id FOREIGN KEY (backbone_id) REFERENCES public.tuner_backbones(backbone_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tuner_progress
    ADD CONSTRAINT fk_tuner_progress_study_id FOREIGN KEY (study_id) REFERENCES public.tuner_studies(study_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tuner_readings
    ADD CONSTRAINT fk_tuner_readings_study_id FOREIGN KEY (study_id) REFERENCES public.tuner_studies(study_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tuner_readings
    ADD CONSTRAINT fk_tuner_readings_trial_id FOREIGN KEY (trial_id) REFERENCES public.tuner_trials(trial_id) ON DELETE SET NULL;
ALTER TABLE ONLY public.tuner_studies
    ADD CONSTRAINT fk_tuner_studies_study_id FOREIGN KEY (study_id) REFERENCES public.studies(study_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tuner_trials
    ADD CONSTRAINT fk_tuner_trials_job_id FOREIGN KEY (job_id) REFERENCES public.tuner_jobs(job_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tuner_trials
    ADD CONSTRAINT fk_tuner_trials_trial_id FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.study_directions
    ADD CONSTRAINT study_directions_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.study_system_attributes
    ADD CONSTRAINT study_system_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.study_user_attributes
    ADD CONSTRAINT study_user_attributes_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
ALTER TABLE ONLY public.trial_heartbeats
    ADD CONSTRAINT trial_heartbeats_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_intermediate_values
    ADD CONSTRAINT trial_intermediate_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_params
    ADD CONSTRAINT trial_params_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_system_attributes
    ADD CONSTRAINT trial_system_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_user_attributes
    ADD CONSTRAINT trial_user_attributes_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trial_values
    ADD CONSTRAINT trial_values_trial_id_fkey FOREIGN KEY (trial_id) REFERENCES public.trials(trial_id);
ALTER TABLE ONLY public.trials
    ADD CONSTRAINT trials_study_id_fkey FOREIGN KEY (study_id) REFERENCES public.studies(study_id);
