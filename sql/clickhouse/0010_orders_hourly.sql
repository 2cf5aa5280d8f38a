-- orders_hourly_agg: what the orders amount to now, by the hour of the order and its status; exact, whatever was changed,
-- deleted, delivered twice or late. Sums over the stream of changes can't be that, and reading 10 million orders with FINAL
-- for every dashboard costs seconds (docs/decisions/0010-aggregates.md). So the table's keys are cut into buckets of
-- 65536, and each bucket that changed is computed anew from the truth every few seconds: nothing is added to what was
-- there before, so nothing can drift.

-- Finds the buckets that changed without reading the column everywhere.
ALTER TABLE {{database}}.orders_current {{on_cluster}}
    ADD INDEX IF NOT EXISTS synced_at_range _synced_at TYPE minmax GRANULARITY 1;
-- Orders of a few days lie together: keys are given in the order of time.
ALTER TABLE {{database}}.orders_current {{on_cluster}}
    ADD INDEX IF NOT EXISTS order_date_range order_date TYPE minmax GRANULARITY 1;

-- One row for each bucket, hour and status. Of a bucket only the rows of its newest computation count; a bucket
-- that has become empty has one row that counts nothing.
CREATE TABLE IF NOT EXISTS {{database}}.orders_hourly_cells {{on_cluster}}
(
    hour           DateTime64(0, 'UTC') CODEC(DoubleDelta, ZSTD),
    status         LowCardinality(String) COMMENT 'empty for NULL',
    bucket         Int32 CODEC(Delta, ZSTD) COMMENT 'id / 65536',
    computed_at    DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD),
    record_count   UInt64 CODEC(T64, ZSTD),
    total_quantity Int64 CODEC(T64, ZSTD),
    total_amount   Decimal(38, 2) CODEC(ZSTD),
    customers      AggregateFunction(uniqExact, Int32) CODEC(ZSTD),
    products       AggregateFunction(uniqExact, Int32) CODEC(ZSTD)
)
ENGINE = {{replicated}}ReplacingMergeTree(computed_at)
ORDER BY (hour, status, bucket);

-- Due are the buckets with changes since shortly before the last computation (an insert becomes visible a little after its
-- _synced_at), all of them after a TRUNCATE of orders (two by two they would take long to empty), and the two that were
-- computed longest ago: what was missed for whatever reason heals by itself.
-- `due` is a scalar, so that both sides of the join see the same buckets.
CREATE MATERIALIZED VIEW {{database}}.orders_hourly_cells_mv {{on_cluster}}
REFRESH EVERY {{aggregate_seconds}} SECOND APPEND TO {{database}}.orders_hourly_cells AS
WITH
    (
        SELECT groupUniqArray(bucket)
        FROM
        (
            SELECT intDiv(id, 65536) AS bucket
            FROM {{database}}.orders_current
            WHERE _synced_at > (SELECT max(computed_at) FROM {{database}}.orders_hourly_cells) - INTERVAL 10 SECOND
            UNION ALL
            SELECT bucket
            FROM {{database}}.orders_hourly_cells
            WHERE (SELECT max(_synced_at) FROM {{database}}.truncations WHERE source_table = 'orders')
                > (SELECT max(computed_at) FROM {{database}}.orders_hourly_cells) - INTERVAL 10 SECOND
            UNION ALL
            SELECT bucket FROM {{database}}.orders_hourly_cells GROUP BY bucket ORDER BY max(computed_at) LIMIT 2
        )
    ) AS due,
    now64(3, 'UTC') AS computed_at
SELECT
    orders.hour AS hour,
    orders.status AS status,
    buckets.bucket AS bucket,
    computed_at,
    orders.record_count AS record_count,
    orders.total_quantity AS total_quantity,
    orders.total_amount AS total_amount,
    orders.customers AS customers,
    orders.products AS products
FROM (SELECT toInt32(arrayJoin(due)) AS bucket) AS buckets
LEFT JOIN
(
    WITH toUnixTimestamp64Micro(ifNull(order_time, toDateTime64(order_date, 6, 'UTC'))) AS micros
    SELECT
        toInt32(intDiv(id, 65536)) AS bucket,
        -- toStartOfHour would end in 2106.
        toDateTime64(fromUnixTimestamp64Micro(micros - positiveModulo(micros, 3600000000), 'UTC'), 0, 'UTC') AS hour,
        toLowCardinality(ifNull(status, '')) AS status,
        count() AS record_count,
        sum(toInt64(quantity)) AS total_quantity,
        sum(toDecimal128(total_amount, 2)) AS total_amount,
        uniqExactState(purchaser) AS customers,
        uniqExactState(product_id) AS products
    FROM {{database}}.orders_here
    WHERE intDiv(id, 65536) IN (SELECT arrayJoin(due))
    GROUP BY bucket, hour, status
) AS orders ON orders.bucket = buckets.bucket
SETTINGS max_threads = 1, join_use_nulls = 0;

-- The cells that count, of this shard: orders of a bucket are on all shards, and each computes its own part.
CREATE OR REPLACE VIEW {{database}}.orders_hourly_newest {{on_cluster}} AS
SELECT hour, status, bucket, record_count, total_quantity, total_amount, customers, products
FROM {{database}}.orders_hourly_cells AS cells FINAL
WHERE cells.record_count > 0
    AND (cells.bucket, cells.computed_at) IN (
        SELECT bucket, max(computed_at) FROM {{database}}.orders_hourly_cells GROUP BY bucket
    );

-- The aggregate that dashboards read.
CREATE OR REPLACE VIEW {{database}}.orders_hourly_agg {{on_cluster}} AS
SELECT
    cells.hour AS hour,
    nullIf(cells.status, '') AS status,
    sum(cells.record_count) AS record_count,
    sum(cells.total_quantity) AS total_quantity,
    sum(cells.total_amount) AS total_amount,
    uniqExactMerge(cells.customers) AS unique_customers,
    uniqExactMerge(cells.products) AS unique_products
FROM {{everywhere}}orders_hourly_newest{{everywhere_end}} AS cells
GROUP BY hour, status;

-- The number of orders and their worth by status, without reading an order.
CREATE OR REPLACE VIEW {{database}}.orders_by_status {{on_cluster}} AS
SELECT
    nullIf(cells.status, '') AS status,
    sum(cells.record_count) AS record_count,
    sum(cells.total_quantity) AS total_quantity,
    sum(cells.total_amount) AS total_amount,
    max(cells.hour) AS last_hour
FROM {{everywhere}}orders_hourly_newest{{everywhere_end}} AS cells
GROUP BY status;

-- Revenue by the hour of the order. Cancelled orders bring none.
CREATE OR REPLACE VIEW {{database}}.revenue_hourly {{on_cluster}} AS
SELECT
    cells.hour AS hour,
    sumIf(cells.total_amount, cells.status != 'CANCELLED') AS revenue,
    sumIf(cells.total_amount, cells.status = 'CANCELLED') AS cancelled_amount,
    sumIf(cells.record_count, cells.status != 'CANCELLED') AS orders,
    sumIf(cells.record_count, cells.status = 'CANCELLED') AS cancelled_orders,
    sumIf(cells.total_quantity, cells.status != 'CANCELLED') AS items_sold
FROM {{everywhere}}orders_hourly_newest{{everywhere_end}} AS cells
GROUP BY hour;

-- Customer behaviour by day; orders that were cancelled don't count.
CREATE OR REPLACE VIEW {{database}}.customer_activity_daily {{on_cluster}} AS
SELECT
    toDate32(cells.hour) AS day,
    uniqExactMerge(cells.customers) AS active_customers,
    sum(cells.record_count) AS total_transactions,
    sum(cells.total_quantity) AS items_sold,
    sum(cells.total_amount) AS revenue,
    round(toFloat64(sum(cells.total_amount)) / sum(cells.record_count), 2) AS avg_transaction_value,
    uniqExactMerge(cells.products) AS unique_products_sold
FROM {{everywhere}}orders_hourly_newest{{everywhere_end}} AS cells
WHERE cells.status != 'CANCELLED'
GROUP BY day;
