-- The orders of all shards; on one node those of the node. What stands behind the name is the platform's to say: rows of one
-- key are on one shard, so that each shard's view finds the newest version by itself.
CREATE OR REPLACE VIEW {{database}}.orders_distributed {{on_cluster}} AS
SELECT * FROM {{orders_everywhere}};
