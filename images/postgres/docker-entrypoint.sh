#!/bin/bash
# Starts PostgreSQL; makes the cluster first when PGDATA holds none.
#
# Environment: POSTGRES_USER (postgres), POSTGRES_DB (the user's name), POSTGRES_PASSWORD_FILE or POSTGRES_PASSWORD, PGDATA.
# /docker-entrypoint-initdb.d/*.{sh,sql,sql.gz} run once, in order of name, before the cluster is taken into use.
# The cluster is made beside PGDATA and renamed at the end: a crash on the way never leaves a half-made one.
set -Eeuo pipefail

say() { echo "postgres-entrypoint: $*" >&2; }
die() { say "$*"; exit 1; }

main() {
  [[ ${1:-} == -* ]] && set -- postgres "$@"
  [[ ${1:-postgres} == postgres ]] || exec "$@"
  (($# > 0)) || set -- postgres

  if [[ $(id -u) == 0 ]]; then
    mkdir -p "$(dirname "$PGDATA")"
    chown postgres:postgres /var/run/postgresql "$(dirname "$PGDATA")"
    [[ ! -d $PGDATA ]] || find "$PGDATA" \! -user postgres -exec chown postgres:postgres {} +
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
  fi

  shift
  # The binaries would put their socket into /tmp, where psql does not look for it.
  set -- postgres -c unix_socket_directories=/var/run/postgresql "$@"
  umask 077
  if [[ ! -s $PGDATA/PG_VERSION ]]; then
    trap 'say "stopped while the cluster was being made; the next start begins anew"; exit 130' INT TERM
    make_cluster "$@"
    trap - INT TERM
  fi
  unset POSTGRES_PASSWORD PGPASSWORD
  exec "$@"
}

make_cluster() {
  local user=${POSTGRES_USER:-postgres} database password fresh=$PGDATA.init
  database=${POSTGRES_DB:-$user}
  password=$(read_password)
  mountpoint -q "$PGDATA" && die "PGDATA=$PGDATA is itself a mount; set PGDATA to a folder inside the volume"
  if [[ -d $PGDATA && -n $(ls -A "$PGDATA") ]]; then
    die "PGDATA=$PGDATA holds files but no cluster (PG_VERSION is missing); move them away or set another PGDATA"
  fi
  [[ ! -e $fresh ]] || say "removing what an interrupted first start left in $fresh"
  rm -rf "$fresh"

  say "making a new cluster"
  initdb --pgdata="$fresh" --username="$user" --pwfile=<(printf '%s\n' "$password") \
    --encoding=UTF8 --locale=C.UTF-8 --auth-local=scram-sha-256 --auth-host=scram-sha-256 >&2
  printf 'host all all all scram-sha-256\nhost replication all all scram-sha-256\n' >>"$fresh/pg_hba.conf"
  printf "listen_addresses = '*'\n" >>"$fresh/postgresql.conf"

  export PGPASSWORD=$password PGHOST=/var/run/postgresql PGUSER=$user PGDATABASE=postgres
  # The server's own settings count from the start (extensions may need preloading), but nobody can reach it yet.
  PGDATA=$fresh "$@" -c data_directory="$fresh" -c listen_addresses='' &
  local server=$!
  wait_ready "$server"
  if [[ $database != postgres ]]; then
    psql -X -v ON_ERROR_STOP=1 -v database="$database" -q <<<'CREATE DATABASE :"database"' >&2
  fi
  PGDATABASE=$database run_scripts
  kill -INT "$server"
  wait "$server" || die "the server did not stop cleanly after the first start's scripts"
  unset PGHOST PGUSER PGDATABASE

  [[ ! -d $PGDATA ]] || rmdir "$PGDATA"
  sync -f "$fresh"
  mv -T "$fresh" "$PGDATA"
  sync -f "$(dirname "$PGDATA")"
  say "the cluster is ready in $PGDATA"
}

read_password() {
  local file=${POSTGRES_PASSWORD_FILE:-} password=${POSTGRES_PASSWORD:-}
  if [[ -n $file ]]; then
    [[ -r $file ]] || die "POSTGRES_PASSWORD_FILE=$file cannot be read by user postgres (uid $(id -u)); deliver it with mode 0444 or this owner"
    password=$(<"$file")
  fi
  [[ -n $password ]] || die "no password for the first start; set POSTGRES_PASSWORD_FILE to a file that holds one"
  printf '%s' "$password"
}

wait_ready() {
  local tries=0
  until pg_isready -q; do
    kill -0 "$1" 2>/dev/null || die "the server ended during the first start; the lines above say why"
    ((++tries < 600)) || die "the server was not ready within 60 s of the first start"
    sleep 0.1
  done
}

run_scripts() {
  local script
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sql) say "running $script"; psql -X -v ON_ERROR_STOP=1 -f "$script" >&2 ;;
      *.sql.gz) say "running $script"; gzip -dc "$script" | psql -X -v ON_ERROR_STOP=1 >&2 ;;
      *.sh) say "running $script"; bash "$script" >&2 ;;
      */\*) ;;
      *) say "ignoring $script: neither .sql, .sql.gz nor .sh" ;;
    esac
  done
}

main "$@"
