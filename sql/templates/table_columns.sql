-- Rows that PostgreSQL had before it had the column show its default there; nothing was sent for them.
ALTER TABLE {{database}}.${table}_final {{on_cluster}}
${final_added};

ALTER TABLE {{database}}.${table}_current {{on_cluster}}
${current_added};

-- What came while there was no column for it is in _extra. Rows inserted again with the version that they have replace
-- themselves, so it does no harm to run this twice.
INSERT INTO {{database}}.${table}_final
WITH
${conversions}
SELECT * REPLACE (
${back_filled})
FROM {{database}}.${table}_final FINAL
WHERE ${was_kept};

INSERT INTO {{database}}.${table}_current
WITH
${conversions}
SELECT * REPLACE (
${back_filled})
FROM {{database}}.${table}_current FINAL
WHERE ${was_kept};
