"""The words a statement may use: functions, table functions and data types, by what they are for.

Holds: names only, lower case; what is not here does not exist for a statement (`statement_guard.py`).
Does not hold: any function that reads a file, a setting, a variable, the catalog, an extension or the
environment, that takes the name of a function or SQL text as an argument, that sleeps, logs, raises a chosen
message, or changes the session (`setseed`, `nextval`).
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPERATORS = _words("+ - * / // % ** ^ & | ~ << >> || ~~ !~~ ~~* !~~* ~~~ ^@ @ -> ->> @> <@ && ! !__postfix")

_AGGREGATES = _words("""
    any_value approx_count_distinct approx_quantile approx_top_k arbitrary arg_max arg_max_null arg_min arg_min_null
    argmax argmin array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count count_if count_star countif
    covar_pop covar_samp entropy favg first fsum geomean geometric_mean group_concat histogram kahan_sum kurtosis
    kurtosis_pop last list listagg mad max max_by mean median min min_by mode product quantile quantile_cont
    quantile_disc regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
    reservoir_quantile sem skewness stddev stddev_pop stddev_samp string_agg sum sum_no_overflow sumkahan var_pop
    var_samp variance wavg weighted_avg
""")

_WINDOWS = _words("""
    cume_dist dense_rank fill first_value lag last_value lead nth_value ntile percent_rank rank rank_dense row_number
""")

_NUMBERS = _words("""
    abs acos acosh asin asinh atan atan2 atanh bar bit_count cbrt ceil ceiling cos cosh cot degrees divide even exp
    factorial fdiv floor fmod gamma gcd greatest greatest_common_divisor isfinite isinf isnan lcm least
    least_common_multiple lgamma ln log log10 log2 mod multiply nextafter pi pow power radians random round
    round_even roundbankers sign signbit sin sinh sqrt subtract tan tanh trunc xor add
""")

_TIMES = _words("""
    age century current_date current_localtime current_localtimestamp date_add date_diff date_part date_sub
    date_trunc datediff datepart datesub datetrunc day dayname dayofmonth dayofweek dayofyear days_in_month decade
    epoch epoch_ms epoch_ns epoch_us era get_current_time get_current_timestamp hour isodow isoyear julian last_day
    make_date make_time make_timestamp make_timestamp_ms make_timestamp_ns make_timestamptz microsecond millennium
    millisecond minute month monthname nanosecond normalized_interval now quarter second strftime strptime
    time_bucket timezone timezone_hour timezone_minute to_centuries to_days to_decades to_hours to_microseconds
    to_millennia to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp to_weeks to_years today
    transaction_timestamp try_strptime week weekday weekofyear year yearweek
""")

_TEXTS = _words("""
    ascii base64 bin char_length character_length chr concat concat_ws contains damerau_levenshtein decode encode
    ends_with format format_bytes from_base64 from_hex hamming hash hex ilike_escape instr jaccard jaro_similarity
    jaro_winkler_similarity lcase left len length levenshtein like_escape lower lpad ltrim md5 nfc_normalize
    not_ilike_escape not_like_escape octet_length ord overlay position prefix printf regexp_escape regexp_extract
    regexp_extract_all regexp_full_match regexp_matches regexp_replace regexp_split_to_array repeat replace reverse
    right rpad rtrim sha1 sha256 split split_part starts_with str_split string_split string_split_regex
    string_to_array strip_accents strlen strpos substr substring suffix to_base64 to_hex translate trim ucase
    unhex unicode upper
""")

_NESTED = _words("""
    array_append array_cat array_concat array_contains array_distinct array_extract array_filter array_has
    array_has_all array_has_any array_indexof array_intersect array_length array_position array_prepend array_reduce
    array_reverse array_reverse_sort array_slice array_sort array_to_string array_transform array_unique array_value
    array_zip cardinality element_at flatten generate_subscripts list_any_value list_append list_apply list_avg
    list_bool_and list_bool_or list_cat list_concat list_contains list_count list_distinct list_element list_entropy
    list_extract list_filter list_first list_grade_up list_has list_has_all list_has_any list_histogram list_indexof
    list_intersect list_last list_mad list_max list_median list_min list_mode list_pack list_position list_prepend
    list_product list_reduce list_resize list_reverse list_reverse_sort list_select list_slice list_sort
    list_stddev_pop list_stddev_samp list_string_agg list_sum list_transform list_unique list_value list_var_pop
    list_var_samp list_where list_zip map map_concat map_contains map_entries map_extract map_from_entries map_keys
    map_values row struct_concat struct_extract struct_extract_at struct_insert struct_pack struct_update unnest
    generate_series range array_apply filter apply reduce
""")

_JSON = _words("""
    array_to_json from_json json_array json_array_length json_contains json_exists json_extract json_extract_path
    json_extract_path_text json_extract_string json_group_array json_group_object json_keys json_object json_structure
    json_transform json_type json_valid json_value row_to_json to_json
""")

_CHOICE = _words("coalesce constant_or_null if ifnull nullif switch typeof")

FUNCTIONS: frozenset[str] = _OPERATORS | _AGGREGATES | _WINDOWS | _NUMBERS | _TIMES | _TEXTS | _NESTED | _JSON | _CHOICE
"""Scalar, aggregate and window functions and operators, as the parser names them."""

TABLE_FUNCTIONS: frozenset[str] = _words("generate_series json_each range unnest")
"""Functions that may stand in FROM: they make rows from their arguments alone."""

DATA_TYPES: frozenset[str] = frozenset(
    {
        "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER",
        "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "VARCHAR", "BLOB", "BIT", "UUID", "DATE", "TIME",
        "TIME WITH TIME ZONE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_S", "TIMESTAMP_MS",
        "TIMESTAMP_NS", "INTERVAL", "LIST", "ARRAY", "STRUCT", "MAP",
    }
)  # fmt: skip
"""Types a statement may cast to, as the parser names them; a type known only by a catalog's name is none."""
