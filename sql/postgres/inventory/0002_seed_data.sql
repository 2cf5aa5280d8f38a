-- 20 customers, 15 products, 60 orders of the last two months, stock and shipments that agree with them.
INSERT INTO inventory.customers (first_name, last_name, email, phone, city, country, registration_date)
SELECT c.first_name, c.last_name, c.email, c.phone, c.city, c.country, CURRENT_DATE - c.days
FROM (VALUES
    ('Sally',    'Thomas',     'sally.thomas@example.com',     '+1 303 555 0101',  'Denver',      'US', 720),
    ('George',   'Bailey',     'gbailey@example.com',          '+1 716 555 0102',  'Buffalo',     'US', 655),
    ('Edward',   'Walker',     'ed.walker@example.com',        NULL,               'Portland',    'US', 610),
    ('Anne',     'Kretchmar',  'annek@example.org',            '+49 30 555 0104',  'Berlin',      'DE', 580),
    ('José',     'Álvarez',    'jose.alvarez@example.es',      '+34 91 555 0105',  'Madrid',      'ES', 512),
    ('Zoë',      'van Dijk',   'zoe.vandijk@example.nl',       NULL,               'Utrecht',     'NL', 470),
    ('Søren',    'Nørgaard',   'soren@example.dk',             '+45 32 55 01 07',  'Aarhus',      'DK', 431),
    ('美咲',      '佐藤',        'misaki.sato@example.jp',       '+81 3 5550 0108',  '東京',         'JP', 400),
    ('Priya',    'Raghavan',   'priya.r@example.in',           '+91 80 5550 0109', 'Bengaluru',   'IN', 377),
    ('Liam',     'O''Connor',  'liam.oconnor@example.ie',      '+353 1 555 0110',  'Dublin',      'IE', 341),
    ('Chloé',    'Lefèvre',    'chloe.lefevre@example.fr',     NULL,               'Lyon',        'FR', 300),
    ('Marta',    'Kowalska',   'marta.kowalska@example.pl',    '+48 22 555 0112',  'Kraków',      'PL', 266),
    ('Diego',    'Fernández',  'diego.f@example.com.ar',       '+54 11 5555 0113', 'Buenos Aires','AR', 230),
    ('Amara',    'Okafor',     'amara.okafor@example.ng',      '+234 1 555 0114',  'Lagos',       'NG', 199),
    ('Noah',     'Schmid',     'noah.schmid@example.ch',       '+41 44 555 0115',  'Zürich',      'CH', 150),
    ('Emily',    'Nguyen',     'emily.nguyen@example.com',     '+1 408 555 0116',  'San José',    'US', 121),
    ('Oliver',   'Smith',      'oliver.smith@example.co.uk',   '+44 20 5550 0117', 'London',      'GB',  98),
    ('Ingrid',   'Haugen',     'ingrid.haugen@example.no',     NULL,               'Bergen',      'NO',  75),
    ('Lucas',    'Pereira',    'lucas.pereira@example.com.br', '+55 11 5555 0119', 'São Paulo',   'BR',  70),
    ('Hannah',   'Goldberg',   'hannah.g@example.com',         '+1 212 555 0120',  'New York',    'US',  65)
) AS c (first_name, last_name, email, phone, city, country, days);

INSERT INTO inventory.products (sku, name, category, description, price, weight_kg, active)
VALUES
    ('KB-MECH-87',  'Mechanical keyboard, 87 keys', 'Electronics', 'Hot-swappable switches, white backlight', 89.90, 0.920, true),
    ('MS-WIRE-01',  'Wired mouse',                  'Electronics', 'Six buttons, 12 000 dpi',                 34.50, 0.085, true),
    ('HD-NOISE-2',  'Noise-cancelling headphones',  'Electronics', '30 hours on one charge',                 199.00, 0.254, true),
    ('CB-USBC-2M',  'USB-C cable, 2 m',             'Electronics', '100 W, braided',                           12.99, 0.060, true),
    ('MN-27-4K',    'Monitor 27", 4K',              'Electronics', NULL,                                     429.00, 5.700, true),
    ('BK-STREAMS',  'Streams and Tables',           'Books',       'Data in motion, for practitioners',       45.00, 0.610, true),
    ('BK-SQL-ART',  'The Art of SQL Queries',       'Books',       NULL,                                      38.25, 0.540, true),
    ('BK-GARDEN',   'A Year in the Garden',         'Books',       'Month by month',                          24.00, 0.700, true),
    ('CF-BEAN-1K',  'Coffee beans, 1 kg',           'Groceries',   'Medium roast, Huehuetenango',             21.80, 1.000, true),
    ('TE-GREEN',    'Green tea, 100 g',             'Groceries',   '煎茶, spring harvest',                      14.40, 0.100, true),
    ('CH-DARK-85',  'Dark chocolate 85 %',          'Groceries',   'Ten bars',                                29.00, 1.050, true),
    ('CH-DESK-ER',  'Desk chair, ergonomic',        'Furniture',   'Adjustable in five ways',                319.00, 16.400, true),
    ('DK-STAND-1',  'Standing desk, 140 cm',        'Furniture',   'Electric, memory for three heights',     549.00, 38.000, true),
    ('LP-DESK-LED', 'Desk lamp, LED',               'Furniture',   NULL,                                      59.95, 1.300, true),
    ('BG-COURIER',  'Courier bag, 20 l',            'Accessories', 'Waterproof; no longer made',              74.00, 0.880, false);

-- The arithmetic only spreads orders over customers, products and days; it is the same on every machine.
INSERT INTO inventory.orders
    (order_date, order_time, purchaser, quantity, product_id, unit_price, status, created_at, updated_at)
SELECT
    day, day + clock, 1 + (n * 7 + n / 20) % 20, 1 + (n * n) % 4, product.id,
    -- Every fifth order was sold at a discount of ten per cent.
    CASE WHEN n % 5 = 0 THEN round(product.price * 0.90, 2) ELSE product.price END,
    CASE WHEN n % 13 = 0 THEN 'CANCELLED'
         WHEN n <= 40 THEN 'DELIVERED'
         WHEN n <= 50 THEN 'SHIPPED'
         WHEN n <= 56 THEN 'CONFIRMED'
         ELSE 'PENDING' END,
    day + clock, day + clock
FROM generate_series(1, 60) AS n
CROSS JOIN LATERAL (SELECT CURRENT_DATE - (61 - n), make_interval(hours => 8 + n % 12, mins => (n * 37) % 60)) AS t (day, clock)
JOIN inventory.products AS product ON product.id = 1 + (n * 11) % 15
ORDER BY n;

INSERT INTO inventory.inventory (product_id, quantity, reserved, reorder_level, warehouse)
SELECT
    product.id, 40 + (product.id * 29) % 160,
    coalesce(sum(ordered.quantity) FILTER (WHERE ordered.status IN ('PENDING', 'CONFIRMED')), 0),
    10 + product.id % 3 * 5, CASE WHEN product.category = 'Furniture' THEN 'BULKY' ELSE 'MAIN' END
FROM inventory.products AS product
LEFT JOIN inventory.orders AS ordered ON ordered.product_id = product.id
GROUP BY product.id
ORDER BY product.id;

INSERT INTO inventory.shipments (order_id, carrier, tracking_number, status, shipped_at, delivered_at)
SELECT
    id, (ARRAY['DHL', 'UPS', 'FedEx', 'PostNL'])[1 + id % 4], 'TRK' || lpad((id * 7919)::text, 9, '0'),
    CASE status WHEN 'DELIVERED' THEN 'DELIVERED' ELSE 'IN_TRANSIT' END,
    (order_time + interval '20 hours') AT TIME ZONE 'UTC',
    CASE status WHEN 'DELIVERED' THEN (order_time + interval '3 days 2 hours') AT TIME ZONE 'UTC' END
FROM inventory.orders
WHERE status IN ('SHIPPED', 'DELIVERED')
ORDER BY id;
