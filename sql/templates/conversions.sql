-- How the text of a JSON value becomes a column's value. A migration that `python -m cdc add-table` writes holds those of
-- these functions that its columns need. Each takes Nullable(String) and ends in NULL where it can't; none may throw.
-- `_beyond_...` is true where PostgreSQL's value is sound but the column can't hold it (docs/types.md): then the column
-- has the nearest value or NULL, and `_extra` the value's text.

-- An unchanged TOAST value that PostgreSQL did not send is no value.
(text) -> nullIf(text, '__debezium_unavailable_value') AS _to_text

-- A number of any length as PostgreSQL writes it; the connector has its own words for what is no number.
(text) -> transform(text, ['NAN', 'POSITIVE_INFINITY', 'NEGATIVE_INFINITY', '__debezium_unavailable_value'],
    ['NaN', 'Infinity', '-Infinity', NULL], text) AS _to_number

-- The same placeholder in base64.
(text) -> nullIf(text, 'X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==') AS _to_base64

(text) -> multiIf(text = 'true', true, text = 'false', false, NULL) AS _to_bool

-- Days since 1970, inside what Date32 holds on every version of the server; the nearest day where it is beyond.
(text) -> addDays(toDate32('1970-01-01'), multiIf(toInt64OrNull(text) < -25567, -25567, toInt64OrNull(text) > 120529, 120529,
    toInt64OrNull(text))) AS _to_date

(text) -> ifNull(toInt64OrNull(text) < -25567 OR toInt64OrNull(text) > 120529, false) AS _beyond_date

-- Microseconds since 1970, inside what DateTime64 holds on every version of the server; the nearest where it is beyond.
(micros) -> fromUnixTimestamp64Micro(multiIf(micros < -2208988800000000, -2208988800000000,
    micros > 10413791999999999, 10413791999999999, micros), 'UTC') AS _to_time

(micros) -> ifNull(micros < -2208988800000000 OR micros > 10413791999999999, false) AS _beyond_time

-- Milliseconds of a timestamp(3) or shorter; far beyond what fits already, so that nothing wraps round.
(millis) -> multiIf(millis < -9000000000000000, -9000000000000000, millis > 9000000000000000, 9000000000000000, millis) * 1000 AS _to_micros

-- ISO text in UTC: 2026-01-31T12:00:00.123456Z, -0043-03-15T00:00:00Z, +12026-01-01T00:00:00Z, infinity, -infinity.
(text) -> multiIf(toInt32OrNull(substring(text, 1, 4)) BETWEEN 1900 AND 2299, parseDateTime64BestEffortOrNull(text, 6, 'UTC'),
    match(text, '^(-infinity$|-[0-9]{4,6}-[0-9]{2}-|[01][0-9]{3}-[0-9]{2}-)'), fromUnixTimestamp64Micro(-2208988800000000, 'UTC'),
    match(text, '^(infinity$|[+][0-9]{4,6}-[0-9]{2}-|[2-9][0-9]{3}-[0-9]{2}-)'), fromUnixTimestamp64Micro(10413791999999999, 'UTC'),
    NULL) AS _to_instant

(text) -> ifNull(NOT toInt32OrNull(substring(text, 1, 4)) BETWEEN 1900 AND 2299, isNotNull(text)) AS _beyond_instant

-- Microseconds since midnight (24:00:00 is a time too) as HH:MM:SS.ffffff, which sorts as time does.
(micros) -> if(micros BETWEEN 0 AND 86400000000, concat(leftPad(toString(intDiv(micros, 3600000000)), 2, '0'), ':',
    leftPad(toString(intDiv(micros, 60000000) % 60), 2, '0'), ':', leftPad(toString(intDiv(micros, 1000000) % 60), 2, '0'), '.',
    leftPad(toString(micros % 1000000), 6, '0')), NULL) AS _to_clock

-- More digits than the column has are an error, not a rounding.
(text) -> if(toDecimal${bits}OrNull(text, ${wider}) = toDecimal${bits}OrNull(text, ${scale}) AND abs(toDecimal${bits}OrNull(text, ${scale})) < toDecimal${bits}('1${zeros}', ${scale}),
    CAST(toDecimal${bits}OrNull(text, ${scale}), 'Nullable(Decimal(${precision}, ${scale}))'), NULL) AS _to_decimal_${precision}_${scale}
