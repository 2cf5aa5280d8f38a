-- Versions of a row replace each other on one shard only, and a consumer stores what it reads where it runs: with several
-- shards each change is sent to the shard of its key, whichever server read it. On one node the history is written directly.
-- The history carries all else along: what is fed by T_final is on the row's shard too.
CREATE TABLE {{database}}.orders_route {{on_cluster}} AS {{database}}.orders_final
ENGINE = {{orders_route_engine}};

CREATE MATERIALIZED VIEW {{database}}.orders_final_mv {{on_cluster}} TO {{database}}.{{orders_history}} AS
SELECT * EXCEPT (kafka_topic, kafka_key, raw, _reason)
FROM {{database}}.orders_parsed
WHERE _reason = '';

CREATE TABLE {{database}}.customers_route {{on_cluster}} AS {{database}}.customers_final
ENGINE = {{customers_route_engine}};

CREATE MATERIALIZED VIEW {{database}}.customers_final_mv {{on_cluster}} TO {{database}}.{{customers_history}} AS
SELECT * EXCEPT (kafka_topic, kafka_key, raw, _reason)
FROM {{database}}.customers_parsed
WHERE _reason = '';

CREATE TABLE {{database}}.products_route {{on_cluster}} AS {{database}}.products_final
ENGINE = {{products_route_engine}};

CREATE MATERIALIZED VIEW {{database}}.products_final_mv {{on_cluster}} TO {{database}}.{{products_history}} AS
SELECT * EXCEPT (kafka_topic, kafka_key, raw, _reason)
FROM {{database}}.products_parsed
WHERE _reason = '';

CREATE TABLE {{database}}.inventory_route {{on_cluster}} AS {{database}}.inventory_final
ENGINE = {{inventory_route_engine}};

CREATE MATERIALIZED VIEW {{database}}.inventory_final_mv {{on_cluster}} TO {{database}}.{{inventory_history}} AS
SELECT * EXCEPT (kafka_topic, kafka_key, raw, _reason)
FROM {{database}}.inventory_parsed
WHERE _reason = '';

CREATE TABLE {{database}}.shipments_route {{on_cluster}} AS {{database}}.shipments_final
ENGINE = {{shipments_route_engine}};

CREATE MATERIALIZED VIEW {{database}}.shipments_final_mv {{on_cluster}} TO {{database}}.{{shipments_history}} AS
SELECT * EXCEPT (kafka_topic, kafka_key, raw, _reason)
FROM {{database}}.shipments_parsed
WHERE _reason = '';
