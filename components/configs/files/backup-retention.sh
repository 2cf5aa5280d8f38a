#!/bin/sh
# Removes ClickHouse's backups that are older than the settings say, but only while younger ones come in: backups that fail
# for a month shall not cost the last good one. rclone finds the store by its RCLONE_CONFIG_STORE_* variables.
set -eu

# remove <folder> <a backup must be younger than> <remove what is older than>
remove() {
    folder="store:$BUCKET/clickhouse/$1"
    if [ -z "$(rclone lsf --recursive --files-only --max-age "$2" "$folder")" ]; then
        echo "nothing in $folder is younger than $2, so nothing is removed: see why the backups fail" >&2
        return 1
    fi
    echo "removing from $folder what is older than $3"
    rclone delete --verbose --min-age "$3" "$folder"
}

there=$(rclone lsf --dirs-only "store:$BUCKET/clickhouse")
failed=0
# A day more: an increment stands on the full backup of its day, which is older than it.
case $there in *daily/*) remove daily 2d "$((DAYS + 1))d" || failed=1 ;; esac
case $there in *weekly/*) remove weekly 15d "$((WEEKS * 7))d" || failed=1 ;; esac
exit $failed
