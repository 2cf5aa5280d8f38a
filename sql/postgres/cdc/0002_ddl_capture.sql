-- Functions behind the event triggers. The triggers themselves need a superuser (or a cloud's equivalent) and are
-- made by `pulumi up` where that is allowed.
--
-- Rules for these functions: a user's DDL must neither fail nor wait because of them. Hence the short lock_timeout
-- and the handler for every error; what could not be recorded becomes a warning in the client and in the server log.
-- SECURITY DEFINER: whoever runs DDL needs no rights on the schema `cdc`; the fixed search_path makes that safe.

CREATE FUNCTION cdc.record_schema_change(tag text, kind text, in_schema text, identity text)
    RETURNS void
    LANGUAGE sql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO cdc.schema_changes
        (command_tag, object_type, schema_name, object_identity, ddl, transaction_id, lsn)
    SELECT
        tag, kind, in_schema, identity,
        left(regexp_replace(current_query(), '(password\s+)(e?''[^'']*''|\$[^$]*\$.*?\$[^$]*\$)', '\1''***''', 'gi'), 10000),
        txid_current(), (pg_current_wal_insert_lsn() - '0/0')::bigint
    WHERE EXISTS (SELECT FROM cdc.captured_schemas AS captured WHERE captured.name = in_schema)
$$;
REVOKE ALL ON FUNCTION cdc.record_schema_change(text, text, text, text) FROM PUBLIC;

-- Only what changes the shape of captured rows is recorded: indexes, sequences and constraints do not.
CREATE FUNCTION cdc.on_ddl_command_end()
    RETURNS event_trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '500ms'
AS $$
BEGIN
    -- The pipeline sets this while it works on the source: its own DDL is no news.
    IF current_setting('cdc.quiet', true) = 'on' THEN
        RETURN;
    END IF;
    PERFORM cdc.record_schema_change(command.command_tag, command.object_type, command.schema_name,
                                     command.object_identity)
       FROM pg_event_trigger_ddl_commands() AS command
      WHERE NOT command.in_extension
        AND command.object_type IN ('table', 'table column', 'foreign table', 'type', 'schema');
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'cdc: this schema change was not recorded: % (%)', SQLERRM, SQLSTATE;
END
$$;

CREATE FUNCTION cdc.on_sql_drop()
    RETURNS event_trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
    SET lock_timeout = '500ms'
AS $$
BEGIN
    -- A dropped column arrives as ALTER TABLE in on_ddl_command_end; recording it here too would double it.
    IF current_setting('cdc.quiet', true) = 'on' OR tg_tag NOT LIKE 'DROP %' THEN
        RETURN;
    END IF;
    PERFORM cdc.record_schema_change(tg_tag, dropped.object_type, dropped.schema_name, dropped.object_identity)
       FROM pg_event_trigger_dropped_objects() AS dropped
      WHERE dropped.object_type IN ('table', 'foreign table')
         OR (dropped.object_type = 'type' AND dropped.original);
EXCEPTION WHEN OTHERS THEN
    RAISE WARNING 'cdc: this schema change was not recorded: % (%)', SQLERRM, SQLSTATE;
END
$$;
