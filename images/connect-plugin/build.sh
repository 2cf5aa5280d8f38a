#!/bin/bash
# Compiles the plugin inside a Kafka Connect image, whose Java has the compiler: build.sh IMAGE DIRECTORY-FOR-THE-JAR
# The same source gives the same bytes, so that a test can tell whether whole-lsn.jar is what the source says.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
docker run --rm --interactive --network none --user "$(id -u):$(id -g)" --entrypoint /bin/bash \
  --volume "$here:/plugin:ro" --volume "$2:/out" "$1" -s <<'END'
set -euo pipefail
work=$(mktemp -d)
java -m jdk.compiler/com.sun.tools.javac.Main -Xlint:all,-options,-path -Werror -source 11 -target 11 \
  -cp "$(echo /kafka/connect/debezium-connector-postgres/*.jar /kafka/libs/*.jar | tr ' ' ':')" -d "$work" /plugin/src/cdc/debezium/*.java
mkdir -p "$work/META-INF/services"
cp /plugin/services/* "$work/META-INF/services/"
cd "$work"
java -m jdk.jartool/sun.tools.jar.Main --create --no-manifest --date 2026-01-01T00:00:00Z --file /out/whole-lsn.jar \
  META-INF/services/* cdc/debezium/*.class
END
