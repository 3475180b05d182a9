-- The views of forecasts and people that BI reads. They run with their maker's rights, so that who reads them needs none on the tables below;
-- names, e-mails, phones and what else is somebody's is masked, save in forecast_full and people_full.
--
-- Conditions on the key, and on nothing else, are tried while rows are read, before those of one key become one: all of a key's rows pass them, or none does.
--
-- The key of the hashes comes from a join: a constant would show in EXPLAIN. Without a key the view is empty, rather than hashed with zeros.

-- +goose Up

CREATE OR REPLACE VIEW forecast_full DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    forecast_id,
    time_period_id,
    time_frame_id,
    user_id,
    field_id,
    kind,
    value,
    currency_code,
    currency_symbol,
    is_updated,
    updated_by,
    updated_on,
    user_crm_id,
    user_email,
    user_name,
    scope_id,
    hierarchy_id,
    hierarchy_name,
    parent_hierarchy_id,
    parent_hierarchy_name,
    field_name,
    field_type,
    time_period_type,
    time_period_label,
    time_period_year,
    time_period_start,
    time_period_end,
    time_period_crm_id,
    time_frame_start,
    time_frame_end,
    job_id,
    source_version,
    observed_at,
    correlation_id,
    ingested_at
FROM forecast_current FINAL
SETTINGS optimize_move_to_prewhere_if_final = 1
COMMENT 'One row for each forecast value: forecast, period, week, user, field, kind; newest source version, deletes hidden. Holds personal data.';

CREATE OR REPLACE VIEW forecast DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH
    (text -> if(text IS NULL, NULL, arrayStringConcat(arrayMap(word -> concat(upperUTF8(substringUTF8(word, 1, 1)), '.'), splitByWhitespace(text)), ' '))) AS initials,
    (text -> multiIf(text IS NULL, NULL, text = '', '', match(text, '^[^\\s@<>",;:()]+@[^\\s@<>",;:()]+\\.[^\\s@<>",;:().]+$'), concat(substringUTF8(text, 1, 1), '***@', lowerUTF8(substringIndex(text, '@', -1))), '***')) AS masked_email
SELECT
    forecast_id,
    time_period_id,
    time_frame_id,
    user_id,
    field_id,
    kind,
    value,
    currency_code,
    currency_symbol,
    is_updated,
    updated_by,
    updated_on,
    user_crm_id,
    masked_email(f.user_email) AS user_email,
    initials(f.user_name) AS user_name,
    scope_id,
    hierarchy_id,
    hierarchy_name,
    parent_hierarchy_id,
    parent_hierarchy_name,
    field_name,
    field_type,
    time_period_type,
    time_period_label,
    time_period_year,
    time_period_start,
    time_period_end,
    time_period_crm_id,
    time_frame_start,
    time_frame_end,
    job_id,
    source_version,
    observed_at,
    correlation_id,
    ingested_at
FROM forecast_current AS f FINAL
SETTINGS optimize_move_to_prewhere_if_final = 1
COMMENT 'One row for each forecast value: forecast, period, week, user, field, kind; newest source version, deletes hidden. Names and e-mails are masked.';

CREATE OR REPLACE VIEW forecast_as_of DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH
    (text -> if(text IS NULL, NULL, arrayStringConcat(arrayMap(word -> concat(upperUTF8(substringUTF8(word, 1, 1)), '.'), splitByWhitespace(text)), ' '))) AS initials,
    (text -> multiIf(text IS NULL, NULL, text = '', '', match(text, '^[^\\s@<>",;:()]+@[^\\s@<>",;:()]+\\.[^\\s@<>",;:().]+$'), concat(substringUTF8(text, 1, 1), '***@', lowerUTF8(substringIndex(text, '@', -1))), '***')) AS masked_email
SELECT
    forecast_id,
    time_period_id,
    time_frame_id,
    user_id,
    field_id,
    kind,
    value,
    currency_code,
    currency_symbol,
    is_updated,
    updated_by,
    updated_on,
    user_crm_id,
    masked_email(f.user_email) AS user_email,
    initials(f.user_name) AS user_name,
    scope_id,
    hierarchy_id,
    hierarchy_name,
    parent_hierarchy_id,
    parent_hierarchy_name,
    field_name,
    field_type,
    time_period_type,
    time_period_label,
    time_period_year,
    time_period_start,
    time_period_end,
    time_period_crm_id,
    time_frame_start,
    time_frame_end,
    job_id,
    source_version,
    observed_at,
    correlation_id,
    ingested_at
FROM
(
    SELECT *
    FROM
    (
        SELECT
            forecast_id,
            time_period_id,
            time_frame_id,
            user_id,
            field_id,
            kind,
            value,
            currency_code,
            currency_symbol,
            is_updated,
            updated_by,
            updated_on,
            user_crm_id,
            user_email,
            user_name,
            scope_id,
            hierarchy_id,
            hierarchy_name,
            parent_hierarchy_id,
            parent_hierarchy_name,
            field_name,
            field_type,
            time_period_type,
            time_period_label,
            time_period_year,
            time_period_start,
            time_period_end,
            time_period_crm_id,
            time_frame_start,
            time_frame_end,
            job_id,
            source_version,
            observed_at,
            correlation_id,
            ingested_at,
            is_deleted
        FROM forecast_history
        WHERE source_version <= {ts:DateTime64(6, 'UTC')} AND ingested_at <= {ts:DateTime64(6, 'UTC')}
        ORDER BY forecast_id DESC, time_period_id DESC, time_frame_id DESC, user_id DESC, field_id DESC, kind DESC, source_version DESC, toUInt128(event_id) DESC
        LIMIT 1 BY forecast_id, time_period_id, time_frame_id, user_id, field_id, kind
    )
    WHERE is_deleted = 0
) AS f
COMMENT 'One row for each forecast value that was in the warehouse at ts: its newest source version of those that the source had made and that had been inserted by then, deletes hidden. Names and e-mails are masked.';

CREATE OR REPLACE VIEW forecast_changes DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    forecast_id,
    time_period_id,
    time_frame_id,
    user_id,
    field_id,
    kind,
    field_name,
    hierarchy_id,
    hierarchy_name,
    parent_hierarchy_id,
    parent_hierarchy_name,
    time_period_start,
    time_period_end,
    time_frame_start,
    time_frame_end,
    currency_code,
    currency_before,
    value_before,
    value_after,
    if(currency_before IS NOT DISTINCT FROM currency_code, value_after - value_before, NULL) AS delta,
    100 * delta / nullIf(abs(value_before), 0) AS delta_percent,
    source_version AS changed_at,
    is_updated,
    updated_by,
    updated_on,
    is_deleted,
    event_id,
    previous_event_id,
    job_id,
    correlation_id,
    observed_at,
    ingested_at
FROM
(
    SELECT
        *,
        if(is_deleted, NULL, value) AS value_after,
        lagInFrame(toNullable(event_id)) OVER versions AS previous_event_id,
        lagInFrame(if(is_deleted, NULL, value)) OVER versions AS value_before,
        lagInFrame(currency_code) OVER versions AS currency_before
    FROM forecast_history
    WINDOW versions AS (PARTITION BY forecast_id, time_period_id, time_frame_id, user_id, field_id, kind ORDER BY toUInt128(event_id), ingested_at ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
)
WHERE value_after IS DISTINCT FROM value_before
    OR (value_after IS NOT NULL AND currency_code IS DISTINCT FROM currency_before)
COMMENT 'One row for each version of a forecast value that changed its amount or its currency, in the order of the source\'s clock; value_before is NULL for the first one, value_after for a delete.';

CREATE OR REPLACE VIEW forecast_vs_quota DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH RECURSIVE
    -- Who holds anything in the latest week of each period, and under whom. A scalar, as that is read once however often it is used.
    (
        SELECT groupArray((forecast_id, time_period_id, user_id, place, above, person))
        FROM
        (
            SELECT
                forecast_id,
                time_period_id,
                user_id,
                argMax(tuple(hierarchy_id), version).1 AS place,
                argMax(tuple(parent_hierarchy_id), version).1 AS above,
                argMax(
                    (
                        if(user_name IS NULL, NULL, arrayStringConcat(arrayMap(word -> concat(upperUTF8(substringUTF8(word, 1, 1)), '.'), splitByWhitespace(user_name)), ' ')),
                        hierarchy_name, parent_hierarchy_name, time_period_start, time_period_end, time_frame_id, time_frame_start, time_frame_end
                    ), version) AS person
            FROM forecast_current FINAL
            WHERE kind IN ('forecast', 'quota')
                AND value IS NOT NULL
                AND (forecast_id, time_period_id, time_frame_id) GLOBAL IN
                (
                    SELECT
                        forecast_id,
                        time_period_id,
                        argMax(time_frame_id, (ifNull(time_frame_start, toDate32('1900-01-01')), time_frame_id))
                    FROM forecast_current FINAL
                    WHERE kind = 'forecast' AND value IS NOT NULL
                    GROUP BY forecast_id, time_period_id
                )
            GROUP BY forecast_id, time_period_id, user_id
        )
    ) AS everybody,
    people AS
    (
        SELECT
            tupleElement(one, 1) AS forecast_id,
            tupleElement(one, 2) AS time_period_id,
            tupleElement(one, 3) AS user_id,
            ifNull(tupleElement(one, 4), '') AS place,
            ifNull(tupleElement(one, 5), '') AS above,
            tupleElement(one, 6) AS person
        FROM (SELECT arrayJoin(everybody) AS one)
    ),
    -- Each place that has none below it, with every place above it.
    ways AS
    (
        SELECT DISTINCT forecast_id, time_period_id, place, above, 1 AS steps
        FROM people
        WHERE place != '' AND above != '' AND (forecast_id, time_period_id, place) NOT IN (SELECT forecast_id, time_period_id, above FROM people)
        UNION ALL
        SELECT DISTINCT w.forecast_id, w.time_period_id, w.place, p.above, w.steps + 1
        FROM ways AS w
        INNER JOIN people AS p ON p.forecast_id = w.forecast_id AND p.time_period_id = w.time_period_id AND p.place = w.above
        WHERE p.above != '' AND w.steps < 20
    ),
    -- What each person has of each currency in each field in which anybody has a call, in that week.
    own AS
    (
        SELECT
            forecast_id,
            time_period_id,
            user_id,
            currency,
            arrayJoin(groupUniqArrayArray(call_fields) OVER (PARTITION BY forecast_id, time_period_id)) AS field_id,
            arrayElementOrNull(calls, indexOf(call_fields, field_id)) AS call,
            if(has(quota_fields, field_id), indexOf(quota_fields, field_id), length(quota_fields) = 1) AS nth_quota,
            arrayElementOrNull(quotas, nth_quota) AS quota
        FROM
        (
            SELECT
                forecast_id,
                time_period_id,
                user_id,
                ifNull(currency_code, '') AS currency,
                groupArrayIf(toString(field_id), kind = 'forecast') AS call_fields,
                groupArrayIf(assumeNotNull(value), kind = 'forecast') AS calls,
                groupArrayIf(toString(field_id), kind = 'quota') AS quota_fields,
                groupArrayIf(assumeNotNull(value), kind = 'quota') AS quotas
            FROM forecast_current FINAL
            WHERE kind IN ('forecast', 'quota')
                AND value IS NOT NULL
                AND (forecast_id, time_period_id, time_frame_id) GLOBAL IN (SELECT forecast_id, time_period_id, tupleElement(person, 6) FROM people)
            GROUP BY forecast_id, time_period_id, user_id, currency
        )
    ),
    -- Their own amounts count for themselves and, where nobody is below them, for everybody above.
    amounts AS
    (
        SELECT
            o.forecast_id AS forecast_id,
            o.time_period_id AS time_period_id,
            arrayJoin(arrayConcat([(o.user_id, 0)], arrayMap(place -> (place, 1), w.above))) AS whose,
            o.user_id AS user_id,
            o.currency AS currency,
            o.field_id AS field_id,
            o.call AS call,
            o.quota AS quota
        FROM own AS o
        INNER JOIN people AS p ON p.forecast_id = o.forecast_id AND p.time_period_id = o.time_period_id AND p.user_id = o.user_id
        LEFT JOIN
        (
            SELECT forecast_id, time_period_id, place, groupUniqArray(above) AS above
            FROM ways
            GROUP BY forecast_id, time_period_id, place
        ) AS w ON w.forecast_id = p.forecast_id AND w.time_period_id = p.time_period_id AND w.place = p.place
        WHERE o.call IS NOT NULL OR o.quota IS NOT NULL
    )
SELECT
    a.forecast_id AS forecast_id,
    a.time_period_id AS time_period_id,
    tupleElement(p.person, 4) AS time_period_start,
    tupleElement(p.person, 5) AS time_period_end,
    tupleElement(p.person, 6) AS time_frame_id,
    tupleElement(p.person, 7) AS time_frame_start,
    tupleElement(p.person, 8) AS time_frame_end,
    p.user_id AS user_id,
    tupleElement(p.person, 1) AS user_name,
    nullIf(p.place, '') AS hierarchy_id,
    tupleElement(p.person, 2) AS hierarchy_name,
    nullIf(p.above, '') AS parent_hierarchy_id,
    tupleElement(p.person, 3) AS parent_hierarchy_name,
    a.field_id AS field_id,
    nullIf(a.currency, '') AS currency_code,
    sumIf(a.call, a.team = 0) AS value,
    sumIf(a.quota, a.team = 0) AS quota,
    100 * value / nullIf(quota, 0) AS attainment_percent,
    sumIf(a.members, a.team = 1) AS team_members,
    sumIf(a.call, a.team = 1) AS team_value,
    sumIf(a.quota, a.team = 1) AS team_quota,
    100 * team_value / nullIf(team_quota, 0) AS team_attainment_percent
FROM
(
    SELECT
        forecast_id,
        time_period_id,
        tupleElement(whose, 1) AS who,
        tupleElement(whose, 2) AS team,
        currency,
        field_id,
        sum(call) AS call,
        sum(quota) AS quota,
        uniqExact(user_id) AS members
    FROM amounts
    GROUP BY ALL
) AS a
INNER JOIN
(
    SELECT *, arrayJoin(if(place = '', [(user_id, 0)], [(user_id, 0), (place, 1)])) AS part
    FROM people
) AS p ON p.forecast_id = a.forecast_id AND p.time_period_id = a.time_period_id AND tupleElement(p.part, 1) = a.who AND tupleElement(p.part, 2) = a.team
GROUP BY ALL
COMMENT 'One row for each forecast, period, user, field and currency in the latest week of the period that has a call: the own call against the own quota, and team_*: the sums over the people below who have nobody below them. Currencies are never added up.';

CREATE OR REPLACE VIEW people_full DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
SELECT
    person_id,
    created_at,
    updated_at,
    last_contacted_at,
    last_replied_at,
    first_name,
    last_name,
    display_name,
    email_address,
    full_email_address,
    secondary_email_address,
    personal_email_address,
    phone,
    phone_extension,
    home_phone,
    mobile_phone,
    linkedin_url,
    title,
    city,
    state,
    country,
    work_city,
    work_state,
    work_country,
    crm_url,
    crm_id,
    account_crm_id,
    crm_object_type,
    owner_crm_id,
    person_company_name,
    person_company_website,
    person_company_industry,
    do_not_contact,
    bouncing,
    locale,
    locale_utc_offset,
    eu_resident,
    personal_website,
    twitter_handle,
    last_contacted_type,
    job_seniority,
    job_function,
    external_source,
    hot_lead,
    success_count,
    starred,
    untouched,
    emails_sent,
    emails_viewed,
    emails_clicked,
    emails_replied_to,
    emails_bounced,
    calls,
    account_id,
    owner_id,
    last_contacted_by_id,
    import_id,
    person_stage_id,
    most_recent_cadence_id,
    last_completed_step_cadence_id,
    last_completed_step_id,
    cadence_ids,
    tags,
    contact_restrictions,
    custom_fields,
    extra,
    source_version,
    observed_at,
    correlation_id,
    ingested_at
FROM people_current FINAL
SETTINGS optimize_move_to_prewhere_if_final = 1
COMMENT 'One row for each Salesloft person; newest source version, deletes hidden. Holds personal data.';

CREATE OR REPLACE VIEW people DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH
    (text -> if(text IS NULL, NULL, arrayStringConcat(arrayMap(word -> concat(upperUTF8(substringUTF8(word, 1, 1)), '.'), splitByWhitespace(text)), ' '))) AS initials,
    (text -> multiIf(text IS NULL, NULL, text = '', '', match(text, '^[^\\s@<>",;:()]+@[^\\s@<>",;:()]+\\.[^\\s@<>",;:().]+$'), concat(substringUTF8(text, 1, 1), '***@', lowerUTF8(substringIndex(text, '@', -1))), '***')) AS masked_email,
    (text -> replaceRegexpAll(text, '[^0-9]', '')) AS digits,
    (text -> multiIf(text IS NULL, NULL, text = '', '', length(digits(text)) >= 8, concat('***', right(digits(text), 4)), '***')) AS masked_phone,
    (text -> multiIf(text IS NULL, NULL, text = '', '', '***')) AS stars
SELECT
    p.person_id AS person_id,
    p.created_at AS created_at,
    p.updated_at AS updated_at,
    p.last_contacted_at AS last_contacted_at,
    p.last_replied_at AS last_replied_at,
    initials(p.first_name) AS first_name,
    initials(p.last_name) AS last_name,
    initials(p.display_name) AS display_name,
    masked_email(p.email_address) AS email_address,
    masked_email(if(match(p.full_email_address, '<[^<>]+>'), extract(p.full_email_address, '<([^<>]+)>'), p.full_email_address)) AS full_email_address,
    masked_email(p.secondary_email_address) AS secondary_email_address,
    masked_email(p.personal_email_address) AS personal_email_address,
    masked_phone(p.phone) AS phone,
    stars(p.phone_extension) AS phone_extension,
    masked_phone(p.home_phone) AS home_phone,
    masked_phone(p.mobile_phone) AS mobile_phone,
    stars(p.linkedin_url) AS linkedin_url,
    p.title AS title,
    p.city AS city,
    p.state AS state,
    p.country AS country,
    p.work_city AS work_city,
    p.work_state AS work_state,
    p.work_country AS work_country,
    p.crm_url AS crm_url,
    p.crm_id AS crm_id,
    p.account_crm_id AS account_crm_id,
    p.crm_object_type AS crm_object_type,
    p.owner_crm_id AS owner_crm_id,
    p.person_company_name AS person_company_name,
    p.person_company_website AS person_company_website,
    p.person_company_industry AS person_company_industry,
    p.do_not_contact AS do_not_contact,
    p.bouncing AS bouncing,
    p.locale AS locale,
    p.locale_utc_offset AS locale_utc_offset,
    p.eu_resident AS eu_resident,
    stars(p.personal_website) AS personal_website,
    stars(p.twitter_handle) AS twitter_handle,
    p.last_contacted_type AS last_contacted_type,
    p.job_seniority AS job_seniority,
    p.job_function AS job_function,
    p.external_source AS external_source,
    p.hot_lead AS hot_lead,
    p.success_count AS success_count,
    p.starred AS starred,
    p.untouched AS untouched,
    p.emails_sent AS emails_sent,
    p.emails_viewed AS emails_viewed,
    p.emails_clicked AS emails_clicked,
    p.emails_replied_to AS emails_replied_to,
    p.emails_bounced AS emails_bounced,
    p.calls AS calls,
    p.account_id AS account_id,
    p.owner_id AS owner_id,
    p.last_contacted_by_id AS last_contacted_by_id,
    p.import_id AS import_id,
    p.person_stage_id AS person_stage_id,
    p.most_recent_cadence_id AS most_recent_cadence_id,
    p.last_completed_step_cadence_id AS last_completed_step_cadence_id,
    p.last_completed_step_id AS last_completed_step_id,
    p.cadence_ids AS cadence_ids,
    p.tags AS tags,
    p.contact_restrictions AS contact_restrictions,
    if(match(p.email_address, '^[^\\s@<>",;:()]+@[^\\s@<>",;:()]+\\.[^\\s@<>",;:().]+$'), lowerUTF8(substringIndex(p.email_address, '@', -1)), NULL) AS email_domain,
    match(nullIf(p.email_address, ''), '^[^\\s@<>",;:()]+@[^\\s@<>",;:()]+\\.[^\\s@<>",;:().]+$') AS email_valid,
    match(nullIf(p.phone, ''), '^[0-9+(). /-]+$') AND length(digits(p.phone)) BETWEEN 7 AND 15 AS phone_valid,
    hex(sipHash128Keyed((k.half_1, k.half_2), nullIf(lowerUTF8(trim(p.email_address)), ''))) AS email_hash,
    hex(sipHash128Keyed((k.half_1, k.half_2), nullIf(digits(p.phone), ''))) AS phone_hash,
    p.source_version AS source_version,
    p.observed_at AS observed_at,
    p.correlation_id AS correlation_id,
    p.ingested_at AS ingested_at
FROM
(
    SELECT *
    FROM people_current FINAL
    SETTINGS optimize_move_to_prewhere_if_final = 1
) AS p
GLOBAL CROSS JOIN
(
    SELECT half_1, half_2
    FROM masking_key
    ORDER BY created_at, half_1, half_2
    LIMIT 1
) AS k
COMMENT 'One row for each Salesloft person; newest source version, deletes hidden. Personal data are masked; hashes are keyed.';

CREATE OR REPLACE VIEW people_as_of DEFINER = CURRENT_USER SQL SECURITY DEFINER AS
WITH
    (text -> if(text IS NULL, NULL, arrayStringConcat(arrayMap(word -> concat(upperUTF8(substringUTF8(word, 1, 1)), '.'), splitByWhitespace(text)), ' '))) AS initials,
    (text -> multiIf(text IS NULL, NULL, text = '', '', match(text, '^[^\\s@<>",;:()]+@[^\\s@<>",;:()]+\\.[^\\s@<>",;:().]+$'), concat(substringUTF8(text, 1, 1), '***@', lowerUTF8(substringIndex(text, '@', -1))), '***')) AS masked_email,
    (text -> replaceRegexpAll(text, '[^0-9]', '')) AS digits,
    (text -> multiIf(text IS NULL, NULL, text = '', '', length(digits(text)) >= 8, concat('***', right(digits(text), 4)), '***')) AS masked_phone,
    (text -> multiIf(text IS NULL, NULL, text = '', '', '***')) AS stars
SELECT
    p.person_id AS person_id,
    p.created_at AS created_at,
    p.updated_at AS updated_at,
    p.last_contacted_at AS last_contacted_at,
    p.last_replied_at AS last_replied_at,
    initials(p.first_name) AS first_name,
    initials(p.last_name) AS last_name,
    initials(p.display_name) AS display_name,
    masked_email(p.email_address) AS email_address,
    masked_email(if(match(p.full_email_address, '<[^<>]+>'), extract(p.full_email_address, '<([^<>]+)>'), p.full_email_address)) AS full_email_address,
    masked_email(p.secondary_email_address) AS secondary_email_address,
    masked_email(p.personal_email_address) AS personal_email_address,
    masked_phone(p.phone) AS phone,
    stars(p.phone_extension) AS phone_extension,
    masked_phone(p.home_phone) AS home_phone,
    masked_phone(p.mobile_phone) AS mobile_phone,
    stars(p.linkedin_url) AS linkedin_url,
    p.title AS title,
    p.city AS city,
    p.state AS state,
    p.country AS country,
    p.work_city AS work_city,
    p.work_state AS work_state,
    p.work_country AS work_country,
    p.crm_url AS crm_url,
    p.crm_id AS crm_id,
    p.account_crm_id AS account_crm_id,
    p.crm_object_type AS crm_object_type,
    p.owner_crm_id AS owner_crm_id,
    p.person_company_name AS person_company_name,
    p.person_company_website AS person_company_website,
    p.person_company_industry AS person_company_industry,
    p.do_not_contact AS do_not_contact,
    p.bouncing AS bouncing,
    p.locale AS locale,
    p.locale_utc_offset AS locale_utc_offset,
    p.eu_resident AS eu_resident,
    stars(p.personal_website) AS personal_website,
    stars(p.twitter_handle) AS twitter_handle,
    p.last_contacted_type AS last_contacted_type,
    p.job_seniority AS job_seniority,
    p.job_function AS job_function,
    p.external_source AS external_source,
    p.hot_lead AS hot_lead,
    p.success_count AS success_count,
    p.starred AS starred,
    p.untouched AS untouched,
    p.emails_sent AS emails_sent,
    p.emails_viewed AS emails_viewed,
    p.emails_clicked AS emails_clicked,
    p.emails_replied_to AS emails_replied_to,
    p.emails_bounced AS emails_bounced,
    p.calls AS calls,
    p.account_id AS account_id,
    p.owner_id AS owner_id,
    p.last_contacted_by_id AS last_contacted_by_id,
    p.import_id AS import_id,
    p.person_stage_id AS person_stage_id,
    p.most_recent_cadence_id AS most_recent_cadence_id,
    p.last_completed_step_cadence_id AS last_completed_step_cadence_id,
    p.last_completed_step_id AS last_completed_step_id,
    p.cadence_ids AS cadence_ids,
    p.tags AS tags,
    p.contact_restrictions AS contact_restrictions,
    if(match(p.email_address, '^[^\\s@<>",;:()]+@[^\\s@<>",;:()]+\\.[^\\s@<>",;:().]+$'), lowerUTF8(substringIndex(p.email_address, '@', -1)), NULL) AS email_domain,
    match(nullIf(p.email_address, ''), '^[^\\s@<>",;:()]+@[^\\s@<>",;:()]+\\.[^\\s@<>",;:().]+$') AS email_valid,
    match(nullIf(p.phone, ''), '^[0-9+(). /-]+$') AND length(digits(p.phone)) BETWEEN 7 AND 15 AS phone_valid,
    hex(sipHash128Keyed((k.half_1, k.half_2), nullIf(lowerUTF8(trim(p.email_address)), ''))) AS email_hash,
    hex(sipHash128Keyed((k.half_1, k.half_2), nullIf(digits(p.phone), ''))) AS phone_hash,
    p.source_version AS source_version,
    p.observed_at AS observed_at,
    p.correlation_id AS correlation_id,
    p.ingested_at AS ingested_at
FROM
(
    SELECT *
    FROM
    (
        SELECT
            person_id,
            created_at,
            updated_at,
            last_contacted_at,
            last_replied_at,
            first_name,
            last_name,
            display_name,
            email_address,
            full_email_address,
            secondary_email_address,
            personal_email_address,
            phone,
            phone_extension,
            home_phone,
            mobile_phone,
            linkedin_url,
            title,
            city,
            state,
            country,
            work_city,
            work_state,
            work_country,
            crm_url,
            crm_id,
            account_crm_id,
            crm_object_type,
            owner_crm_id,
            person_company_name,
            person_company_website,
            person_company_industry,
            do_not_contact,
            bouncing,
            locale,
            locale_utc_offset,
            eu_resident,
            personal_website,
            twitter_handle,
            last_contacted_type,
            job_seniority,
            job_function,
            external_source,
            hot_lead,
            success_count,
            starred,
            untouched,
            emails_sent,
            emails_viewed,
            emails_clicked,
            emails_replied_to,
            emails_bounced,
            calls,
            account_id,
            owner_id,
            last_contacted_by_id,
            import_id,
            person_stage_id,
            most_recent_cadence_id,
            last_completed_step_cadence_id,
            last_completed_step_id,
            cadence_ids,
            tags,
            contact_restrictions,
            source_version,
            observed_at,
            correlation_id,
            ingested_at,
            is_deleted
        FROM people_history
        WHERE source_version <= {ts:DateTime64(6, 'UTC')} AND ingested_at <= {ts:DateTime64(6, 'UTC')}
        ORDER BY person_id DESC, source_version DESC, toUInt128(event_id) DESC
        LIMIT 1 BY person_id
    )
    WHERE is_deleted = 0
) AS p
GLOBAL CROSS JOIN
(
    SELECT half_1, half_2
    FROM masking_key
    ORDER BY created_at, half_1, half_2
    LIMIT 1
) AS k
COMMENT 'One row for each Salesloft person who was in the warehouse at ts: the newest source version of those that the source had made and that had been inserted by then, deletes hidden. Personal data are masked; hashes are keyed.';

-- +goose Down

DROP VIEW IF EXISTS people_as_of;

DROP VIEW IF EXISTS people_full;

DROP VIEW IF EXISTS forecast_vs_quota;

DROP VIEW IF EXISTS forecast_changes;

DROP VIEW IF EXISTS forecast_as_of;

DROP VIEW IF EXISTS forecast_full;

CREATE OR REPLACE VIEW people AS
SELECT
    person_id,
    created_at,
    updated_at,
    last_contacted_at,
    last_replied_at,
    first_name,
    last_name,
    display_name,
    email_address,
    full_email_address,
    secondary_email_address,
    personal_email_address,
    phone,
    phone_extension,
    home_phone,
    mobile_phone,
    linkedin_url,
    title,
    city,
    state,
    country,
    work_city,
    work_state,
    work_country,
    crm_url,
    crm_id,
    account_crm_id,
    crm_object_type,
    owner_crm_id,
    person_company_name,
    person_company_website,
    person_company_industry,
    do_not_contact,
    bouncing,
    locale,
    locale_utc_offset,
    eu_resident,
    personal_website,
    twitter_handle,
    last_contacted_type,
    job_seniority,
    job_function,
    external_source,
    hot_lead,
    success_count,
    starred,
    untouched,
    emails_sent,
    emails_viewed,
    emails_clicked,
    emails_replied_to,
    emails_bounced,
    calls,
    account_id,
    owner_id,
    last_contacted_by_id,
    import_id,
    person_stage_id,
    most_recent_cadence_id,
    last_completed_step_cadence_id,
    last_completed_step_id,
    cadence_ids,
    tags,
    contact_restrictions,
    custom_fields,
    extra,
    source_version,
    observed_at,
    correlation_id,
    ingested_at
FROM people_current FINAL
COMMENT 'One row for each Salesloft person; newest source version, deletes hidden.';

CREATE OR REPLACE VIEW forecast AS
SELECT
    forecast_id,
    time_period_id,
    time_frame_id,
    user_id,
    field_id,
    kind,
    value,
    currency_code,
    currency_symbol,
    is_updated,
    updated_by,
    updated_on,
    user_crm_id,
    user_email,
    user_name,
    scope_id,
    hierarchy_id,
    hierarchy_name,
    parent_hierarchy_id,
    parent_hierarchy_name,
    field_name,
    field_type,
    time_period_type,
    time_period_label,
    time_period_year,
    time_period_start,
    time_period_end,
    time_period_crm_id,
    time_frame_start,
    time_frame_end,
    job_id,
    source_version,
    observed_at,
    correlation_id,
    ingested_at
FROM forecast_current FINAL
COMMENT 'One row for each forecast value: forecast, period, week, user, field, kind; newest source version, deletes hidden.';
