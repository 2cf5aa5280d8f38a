-- Questions that need more than one table. Views: always of now, and an order whose customer or product has not arrived yet
-- (tables travel on topics of their own) is there without its name.

-- Every order with its customer and product. discount_amount is what the order is cheaper than the list price of now.
CREATE OR REPLACE VIEW {{database}}.unified_analytics {{on_cluster}} AS
SELECT
    o.purchaser AS customer_id,
    concat(c.first_name, ' ', c.last_name) AS customer_name,
    c.email AS email,
    c.country AS country,
    c.registration_date AS registration_date,
    o.id AS order_id,
    o.order_date AS event_date,
    o.order_time AS order_time,
    o.status AS status,
    o.total_amount AS total_amount,
    o.quantity AS quantity,
    o.product_id AS product_id,
    p.name AS product_name,
    p.category AS category,
    p.price AS unit_price,
    p.price * o.quantity - o.total_amount AS discount_amount,
    dateDiff('day', c.registration_date, o.order_date) AS customer_lifetime_days
FROM {{database}}.orders AS o
LEFT JOIN {{database}}.customers AS c ON o.purchaser = c.id
LEFT JOIN {{database}}.products AS p ON o.product_id = p.id
SETTINGS join_use_nulls = 1;

-- Customers of the last 90 days by revenue. Orders are summed before names are looked up.
CREATE OR REPLACE VIEW {{database}}.top_customers {{on_cluster}} AS
SELECT
    o.customer_id AS customer_id,
    concat(c.first_name, ' ', c.last_name) AS customer_name,
    c.email AS email,
    o.total_orders AS total_orders,
    o.total_revenue AS total_revenue,
    round(toFloat64(o.total_revenue) / o.total_orders, 2) AS avg_order_value,
    o.last_order_date AS last_order_date,
    o.customer_tenure_days AS customer_tenure_days
FROM
(
    SELECT
        purchaser AS customer_id,
        count() AS total_orders,
        sum(toDecimal128(total_amount, 2)) AS total_revenue,
        max(order_date) AS last_order_date,
        dateDiff('day', min(order_date), max(order_date)) AS customer_tenure_days
    FROM {{database}}.orders
    WHERE order_date >= today() - 90 AND ifNull(status, '') != 'CANCELLED'
    GROUP BY customer_id
) AS o
LEFT JOIN {{database}}.customers AS c ON o.customer_id = c.id
SETTINGS join_use_nulls = 1;

-- Products by what was sold of them in the last 90 days.
CREATE OR REPLACE VIEW {{database}}.product_performance {{on_cluster}} AS
SELECT
    o.product_id AS product_id,
    p.sku AS sku,
    p.name AS product_name,
    p.category AS category,
    o.orders AS orders,
    o.items_sold AS items_sold,
    o.revenue AS revenue,
    o.cancelled_orders AS cancelled_orders,
    o.unique_customers AS unique_customers,
    o.last_order_date AS last_order_date
FROM
(
    SELECT
        product_id,
        countIf(ifNull(status, '') != 'CANCELLED') AS orders,
        sumIf(toInt64(quantity), ifNull(status, '') != 'CANCELLED') AS items_sold,
        sumIf(toDecimal128(total_amount, 2), ifNull(status, '') != 'CANCELLED') AS revenue,
        countIf(status = 'CANCELLED') AS cancelled_orders,
        uniqExact(purchaser) AS unique_customers,
        max(order_date) AS last_order_date
    FROM {{database}}.orders
    WHERE order_date >= today() - 90
    GROUP BY product_id
) AS o
LEFT JOIN {{database}}.products AS p ON o.product_id = p.id
SETTINGS join_use_nulls = 1;

