-- The name by which the orders of all shards are known elsewhere.
CREATE OR REPLACE VIEW {{database}}.orders_distributed {{on_cluster}} AS
SELECT * FROM {{database}}.orders;
