-- Versions of a row replace each other on one shard only, and a consumer stores what it reads where it runs: with several
-- shards each change is sent to the shard of its key, whichever server read it. On one node the history is written directly.
-- The history carries all else along: what is fed by orders_final is on the row's shard too.
CREATE TABLE {{database}}.orders_route {{on_cluster}} AS {{database}}.orders_final
ENGINE = {{orders_route_engine}};

CREATE MATERIALIZED VIEW {{database}}.orders_final_mv {{on_cluster}} TO {{database}}.{{orders_history}} AS
SELECT * EXCEPT (kafka_topic, kafka_key, raw, reason)
FROM {{database}}.orders_parsed
WHERE reason = '';
