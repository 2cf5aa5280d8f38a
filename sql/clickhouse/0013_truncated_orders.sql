-- After a TRUNCATE of orders every bucket is due at once; before, they would have emptied two by two.
-- Otherwise as before: due are the buckets with changes since shortly before the last computation (an insert becomes visible a little after its
-- _synced_at), and the two that were computed longest ago: what was missed for whatever reason heals by itself.
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
            WHERE _synced_at > (SELECT max(computed_at) FROM {{database}}.orders_hourly_cells) - INTERVAL 20 SECOND
            UNION ALL
            SELECT bucket
            FROM {{database}}.orders_hourly_cells
            WHERE (SELECT max(_synced_at) FROM {{database}}.truncations WHERE source_table = 'orders')
                > (SELECT max(computed_at) FROM {{database}}.orders_hourly_cells) - INTERVAL 20 SECOND
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
    FROM {{database}}.orders
    WHERE intDiv(id, 65536) IN (SELECT arrayJoin(due))
    GROUP BY bucket, hour, status
) AS orders ON orders.bucket = buckets.bucket
SETTINGS max_threads = 1, join_use_nulls = 0;
