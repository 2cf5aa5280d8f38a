#!/bin/bash
# One backup of the analytics database to the object store: full | increment | weekly. Folders are named by time, so that
# nothing is ever written over. An increment stands on the day's full backup, never on another increment: a restore needs two.
set -euo pipefail
kind=$1
day=$(date -u +%Y-%m-%d)
query() {
    clickhouse-client --secure --config-file /etc/cdc/backup/client.xml --host "$CLICKHOUSE_HOST" --port "$CLICKHOUSE_PORT" \
        --query "$1"
}
case $kind in
    full) target="daily/$day/full" settings="" ;;
    weekly) target="weekly/$day" settings="" ;;
    increment)
        target="daily/$day/increment-$(date -u +%H%M)"
        settings="SETTINGS base_backup = S3('$STORE_URL/clickhouse/daily/$day/full')"
        ;;
    *) echo "full, increment or weekly is meant, not '$kind'" >&2; exit 2 ;;
esac
echo "backing up $DATABASE to $target"
query "BACKUP DATABASE $DATABASE ON CLUSTER '$CLUSTER' TO S3('$STORE_URL/clickhouse/$target') $settings"
