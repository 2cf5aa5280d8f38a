-- The demonstration's source: a small shop. Applied only where the pipeline runs PostgreSQL itself.
-- Times without a zone are UTC whatever the session's zone is, so that they mean the same downstream.
CREATE SCHEMA IF NOT EXISTS inventory;
COMMENT ON SCHEMA inventory IS 'Demonstration data: a small shop.';

CREATE SEQUENCE inventory.order_number_seq START WITH 1001;

CREATE TABLE inventory.customers (
    id                serial PRIMARY KEY,
    first_name        varchar(100) NOT NULL,
    last_name         varchar(100) NOT NULL,
    email             varchar(255) NOT NULL UNIQUE CHECK (email LIKE '%_@_%'),
    phone             varchar(40),
    city              varchar(100),
    country           char(2) NOT NULL DEFAULT 'US',
    registration_date date NOT NULL DEFAULT CURRENT_DATE,
    created_at        timestamp NOT NULL DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC'),
    updated_at        timestamp NOT NULL DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC')
);
COMMENT ON COLUMN inventory.customers.country IS 'ISO 3166-1 alpha-2.';

CREATE TABLE inventory.products (
    id          serial PRIMARY KEY,
    sku         varchar(40) NOT NULL UNIQUE,
    name        varchar(255) NOT NULL,
    category    varchar(100) NOT NULL,
    description text,
    price       decimal(10,2) NOT NULL CHECK (price >= 0),
    weight_kg   decimal(8,3) CHECK (weight_kg > 0),
    active      boolean NOT NULL DEFAULT true,
    created_at  timestamp NOT NULL DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC'),
    updated_at  timestamp NOT NULL DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC')
);
COMMENT ON COLUMN inventory.products.price IS 'List price in US dollars; an order keeps its own price.';

CREATE TABLE inventory.orders (
    id           serial PRIMARY KEY,
    order_number varchar(50) UNIQUE NOT NULL DEFAULT 'ORD-' || nextval('inventory.order_number_seq'),
    order_date   date NOT NULL DEFAULT CURRENT_DATE,
    order_time   timestamp DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC'),
    purchaser    integer NOT NULL REFERENCES inventory.customers (id),
    quantity     integer NOT NULL CHECK (quantity > 0),
    product_id   integer NOT NULL REFERENCES inventory.products (id),
    unit_price   decimal(10,2) NOT NULL,
    total_amount decimal(12,2) GENERATED ALWAYS AS (quantity * unit_price) STORED,
    status       varchar(20) DEFAULT 'PENDING'
                 CHECK (status IN ('PENDING', 'CONFIRMED', 'SHIPPED', 'DELIVERED', 'CANCELLED')),
    created_at   timestamp DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC'),
    updated_at   timestamp DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC')
);
ALTER SEQUENCE inventory.order_number_seq OWNED BY inventory.orders.order_number;
COMMENT ON COLUMN inventory.orders.purchaser IS 'The customer who ordered; also the key of the Kafka message.';
COMMENT ON COLUMN inventory.orders.total_amount IS 'Generated: never in the change stream, computed again downstream.';
CREATE INDEX idx_orders_date ON inventory.orders (order_date);
CREATE INDEX idx_orders_customer ON inventory.orders (purchaser);
CREATE INDEX idx_orders_product ON inventory.orders (product_id);
CREATE INDEX idx_orders_status ON inventory.orders (status);

CREATE TABLE inventory.inventory (
    product_id    integer PRIMARY KEY REFERENCES inventory.products (id),
    quantity      integer NOT NULL DEFAULT 0 CHECK (quantity >= 0),
    reserved      integer NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    reorder_level integer NOT NULL DEFAULT 10 CHECK (reorder_level >= 0),
    warehouse     varchar(50) NOT NULL DEFAULT 'MAIN',
    updated_at    timestamp NOT NULL DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC'),
    CHECK (reserved <= quantity)
);
COMMENT ON TABLE inventory.inventory IS 'Stock, one row for each product.';

CREATE TABLE inventory.shipments (
    id              serial PRIMARY KEY,
    order_id        integer NOT NULL REFERENCES inventory.orders (id),
    carrier         varchar(50) NOT NULL,
    tracking_number varchar(100) UNIQUE,
    status          varchar(20) NOT NULL DEFAULT 'PREPARING'
                    CHECK (status IN ('PREPARING', 'IN_TRANSIT', 'DELIVERED', 'RETURNED')),
    shipped_at      timestamptz,
    delivered_at    timestamptz,
    created_at      timestamp NOT NULL DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC'),
    updated_at      timestamp NOT NULL DEFAULT (CURRENT_TIMESTAMP AT TIME ZONE 'UTC'),
    CHECK (delivered_at IS NULL OR delivered_at >= shipped_at)
);
CREATE INDEX idx_shipments_order ON inventory.shipments (order_id);
CREATE INDEX idx_shipments_status ON inventory.shipments (status);

-- FULL: updates and deletes carry the whole old row, also large values that did not change.
ALTER TABLE inventory.customers REPLICA IDENTITY FULL;
ALTER TABLE inventory.products REPLICA IDENTITY FULL;
ALTER TABLE inventory.orders REPLICA IDENTITY FULL;
ALTER TABLE inventory.inventory REPLICA IDENTITY FULL;
ALTER TABLE inventory.shipments REPLICA IDENTITY FULL;

CREATE FUNCTION inventory.touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := CURRENT_TIMESTAMP AT TIME ZONE 'UTC';
    RETURN NEW;
END
$$;
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON inventory.customers
    FOR EACH ROW EXECUTE FUNCTION inventory.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON inventory.products
    FOR EACH ROW EXECUTE FUNCTION inventory.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON inventory.orders
    FOR EACH ROW EXECUTE FUNCTION inventory.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON inventory.inventory
    FOR EACH ROW EXECUTE FUNCTION inventory.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON inventory.shipments
    FOR EACH ROW EXECUTE FUNCTION inventory.touch_updated_at();
