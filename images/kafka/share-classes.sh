#!/bin/bash
# Writes the class archives that make the servers start in about half the processor time: share-classes.sh server|connect
#
# Runs once while the image is built: starts a throw-away broker (and worker), and lets Java archive the classes they loaded.
set -euo pipefail
kind=$1
home=/opt/kafka
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work" /tmp/hsperfdata_*' EXIT

cat >"$work/broker.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:19093
listeners=PLAIN://127.0.0.1:19092,CONTROLLER://127.0.0.1:19093
listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
log.dirs=$work/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
END
cat >"$work/worker.properties" <<END
bootstrap.servers=127.0.0.1:19092
group.id=share-classes
config.storage.topic=configs
offset.storage.topic=offsets
offset.storage.partitions=1
status.storage.topic=status
status.storage.partitions=1
config.storage.replication.factor=1
offset.storage.replication.factor=1
status.storage.replication.factor=1
exactly.once.source.support=enabled
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
plugin.path=$home/connect
plugin.discovery=service_load
listeners=http://127.0.0.1:18083
END

# Succeeds when the command does, within 60 s; fails at once when the process has ended.
await() {
  local process=$1 tries
  shift
  for ((tries = 0; tries < 300; tries++)); do
    "$@" && return
    kill -0 "$process" 2>/dev/null || return 1
    sleep 0.2
  done
  return 1
}
broker_up() { grep -q 'Kafka Server started' "$work/broker.log"; }
worker_up() { wget -qO /dev/null http://127.0.0.1:18083/connector-plugins 2>/dev/null; }

archive=-XX:ArchiveClassesAtExit=$work/new.jsa
"$home/bin/kafka-storage.sh" format --cluster-id AAAAAAAAAAAAAAAAAAAAAQ --config "$work/broker.properties" >/dev/null
KAFKA_OPTS=$([[ $kind == server ]] && echo "$archive") "$home/bin/kafka-server-start.sh" "$work/broker.properties" >"$work/broker.log" 2>&1 &
broker=$!
await "$broker" broker_up || { tail -20 "$work/broker.log"; exit 1; }
last=$broker
if [[ $kind == connect ]]; then
  KAFKA_OPTS=$archive "$home/bin/connect-distributed.sh" "$work/worker.properties" >"$work/worker.log" 2>&1 &
  last=$!
  await "$last" worker_up || { tail -20 "$work/worker.log"; exit 1; }
else
  "$home/bin/kafka-topics.sh" --bootstrap-server 127.0.0.1:19092 --create --topic t >/dev/null
fi
kill "$last"
wait "$last" || true
[[ -s $work/new.jsa ]] || { echo "Java wrote no archive" >&2; exit 1; }
install -m 0444 "$work/new.jsa" "$home/cds/$kind.jsa"
