#!/bin/bash
# Runs one class of Kafka: kafka-run-class.sh [--kind server|connect|tool] CLASS ARGUMENT...
#
# Environment, as in the Apache distribution: KAFKA_HEAP_OPTS, KAFKA_OPTS, KAFKA_JVM_PERFORMANCE_OPTS, KAFKA_LOG4J_OPTS,
# KAFKA_JMX_OPTS, LOG_DIR, CLASSPATH. Unset ones get a default by kind; the servers log to stdout, the tools only warnings to stderr.
set -euo pipefail
home=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)

kind=tool
if [[ ${1:-} == --kind ]]; then kind=$2; shift 2; fi
(($# > 0)) || { echo "usage: kafka-run-class.sh [--kind server|connect|tool] CLASS [ARGUMENT...]" >&2; exit 64; }

case $kind in
  server) heap=-Xmx512m config=log4j2.yaml archive=server ;;
  connect) heap=-Xmx768m config=connect-log4j2.yaml archive=connect ;;
  *) heap=-Xmx256m config=tools-log4j2.yaml archive=server ;;
esac
if [[ $kind == tool ]]; then
  # A tool lives for a second or two: the small collector and the quick compiler start fastest.
  performance="-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true"
else
  performance="-XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExplicitGCInvokesConcurrent -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true"
fi

# Ignored by Java when it does not fit the libraries.
shared=
if [[ -f $home/cds/$archive.jsa && ${KAFKA_OPTS-} != *ArchiveClassesAtExit* ]]; then
  shared="-XX:SharedArchiveFile=$home/cds/$archive.jsa -Xshare:auto"
fi

printf -v libraries '%s:' "$home"/libs/*.jar
export CLASSPATH=${CLASSPATH:+$CLASSPATH:}${libraries%:}
# Option lists hold several words each.
# shellcheck disable=SC2086
exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" ${KAFKA_HEAP_OPTS-$heap} $shared ${KAFKA_JVM_PERFORMANCE_OPTS-$performance} \
  ${KAFKA_JMX_OPTS-} ${KAFKA_LOG4J_OPTS--Dlog4j2.configurationFile=$home/config/$config} \
  -Dkafka.logs.dir="${LOG_DIR:-$home/logs}" ${KAFKA_OPTS-} "$@"
