-- What happened to the orders, as opposed to what they are: every change once, by the time of its commit.

-- Orders of an hour lie together in time as they do in the log.
ALTER TABLE {{database}}.orders_final {{on_cluster}}
    ADD INDEX IF NOT EXISTS source_time_range source_time TYPE minmax GRANULARITY 1;
ALTER TABLE {{database}}.orders_final {{on_cluster}}
    ADD INDEX IF NOT EXISTS synced_at_range _synced_at TYPE minmax GRANULARITY 1;

-- Changes by hour and operation. revenue_change is what they did to the worth of all orders: the new amount less the old.
-- A version is one commit, so it lies in one partition, and FINAL need not look across partitions.
CREATE OR REPLACE VIEW {{database}}.orders_hourly_changes {{on_cluster}} AS
SELECT
    toStartOfHour(source_time) AS hour,
    operation_name AS operation,
    count() AS record_count,
    sum(toInt64(changes.quantity)) AS total_quantity,
    sum(toDecimal128(changes.total_amount, 2)) AS total_amount,
    uniqExact(purchaser) AS unique_customers,
    uniqExact(product_id) AS unique_products,
    sum(toDecimal128(multiIf(
        changes.operation = 'd', -changes.total_amount,
        changes.operation = 'u', changes.total_amount - ifNull(changes.before_total_amount, changes.total_amount),
        changes.operation = 'c', changes.total_amount, 0), 2)) AS revenue_change
FROM {{everywhere}}orders_final{{everywhere_end}} AS changes FINAL
GROUP BY hour, operation
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- The pipeline's health by day of arrival. Latency is from commit to arrival in ClickHouse; of a change that was delivered
-- again it is that of the last delivery. Rows that a snapshot read count as reads, not in the latency.
CREATE OR REPLACE VIEW {{database}}.pipeline_daily_report {{on_cluster}} AS
SELECT
    toDate(_synced_at) AS report_date,
    count() AS total_events_processed,
    countIf(changes.operation = 'c') AS inserts,
    countIf(changes.operation = 'u') AS updates,
    countIf(changes.operation = 'd') AS deletes,
    countIf(changes.operation = 'r') AS reads,
    round(avgIf(dateDiff('millisecond', source_time, _synced_at), changes.operation != 'r') / 1000, 3) AS avg_latency,
    round(quantileIf(0.99)(dateDiff('millisecond', source_time, _synced_at), changes.operation != 'r') / 1000, 3) AS p99_latency,
    maxIf(dateDiff('millisecond', source_time, _synced_at), changes.operation != 'r') / 1000 AS max_latency,
    min(_synced_at) AS first_event_time,
    max(_synced_at) AS last_event_time,
    uniqExact(toStartOfHour(_synced_at)) AS active_hours,
    round(count() / active_hours, 2) AS avg_throughput_per_hour
FROM {{everywhere}}orders_final{{everywhere_end}} AS changes FINAL
GROUP BY report_date
SETTINGS do_not_merge_across_partitions_select_final = 1;
