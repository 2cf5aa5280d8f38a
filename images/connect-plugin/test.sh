#!/bin/bash
# Runs the plugin's tests inside a Kafka Connect image, against the Debezium that is in it: test.sh IMAGE
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
docker run --rm --interactive --network none --entrypoint /bin/bash --volume "$here:/plugin:ro" "$1" -s <<'END'
set -euo pipefail
work=$(mktemp -d)
classpath=$(echo /kafka/connect/debezium-connector-postgres/*.jar /kafka/libs/*.jar | tr ' ' ':')
java -m jdk.compiler/com.sun.tools.javac.Main -Xlint:all,-path -Werror -cp "$classpath" -d "$work" \
  /plugin/src/cdc/debezium/*.java /plugin/test/cdc/debezium/*.java
# Debezium says at every start where it resumes from.
printf 'rootLogger.level=off\n' >"$work/log4j2.properties"
for test in WholeLsnOffsetsTest LogSchemaTest PostgresAwayTest; do
  java -Dlog4j2.configurationFile="$work/log4j2.properties" -cp "$work:$classpath" "cdc.debezium.$test"
done
END
