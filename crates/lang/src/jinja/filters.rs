//! The filters: one table with what each does, for the engine and for the reference.

pub(super) mod data;
pub(super) mod encoding;
pub(super) mod lists;
pub(super) mod network;
pub(super) mod patterns;
pub(super) mod sets;
pub(super) mod texts;

use super::{
    call::Called,
    failure::{Failure, Outcome},
    run::{Place, Run},
    value::Value,
};
use crate::say::did_you_mean;

/// What carries a filter out.
pub(super) type Call = fn(&Run<'_>, &Value, &Called, &Place) -> Outcome<Value>;

/// A filter.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) name: &'static str,
    /// How its arguments are written.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub(super) args: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the reference"))]
    pub(super) doc: &'static str,
    pub(super) call: Call,
}

const fn filter(name: &'static str, args: &'static str, doc: &'static str, call: Call) -> Filter {
    Filter { name, args, doc, call }
}

/// Filters of other names.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("count", "length"),
    ("d", "default"),
    ("e", "escape"),
    ("forceescape", "escape"),
    ("rand_str", "random_hash"),
    ("strftime", "date_format"),
    ("str_to_num", "to_num"),
];

/// Filters that Salt has and that are refused, with the reason.
pub(super) const REFUSED: &[(&str, &str)] = &[
    ("date_format", "it may look at the clock"),
    ("dns_check", "it asks the network"),
    ("file_hashsum", "it reads files outside the tree"),
    ("gen_mac", "it throws dice"),
    ("get_uid", "it asks the machine that compiles; use salt['user.info']"),
    ("http_query", "it asks the network"),
    ("is_bin_file", "it reads files outside the tree"),
    ("is_empty", "it reads files outside the tree"),
    ("is_text_file", "it reads files outside the tree"),
    ("list_files", "it reads folders outside the tree"),
    ("random", "it throws dice"),
    ("random_hash", "it throws dice"),
    ("random_sample", "it throws dice"),
    ("random_shuffle", "it throws dice"),
    ("random_str", "it throws dice"),
    ("which", "it asks the machine that compiles; use salt['cmd.which']"),
];

/// Filters of Salt and Jinja that are not there.
pub(super) const ABSENT: &[&str] = &[
    "check_whitelist_blacklist",
    "filter_by_networks",
    "json_query",
    "mac_str_to_bytes",
    "mysql_to_dict",
    "to_bytes",
    "xml",
];

/// All, in order.
pub(super) const FILTERS: &[Filter] = &[
    filter("abs", "", "The number without its sign.", lists::abs),
    filter(
        "append_dict_key_value",
        "keys, value, delimiter=':'",
        "Appends to the list at a path of keys.",
        data::append_key,
    ),
    filter("attr", "name", "The attribute of this name, never a key.", data::attr),
    filter("avg", "", "The mean of numbers.", lists::avg),
    filter("base64_decode", "", "The text behind Base64.", encoding::base64_decode),
    filter("base64_encode", "", "Base64 of a text.", encoding::base64_encode),
    filter("batch", "linecount, fill_with", "Lists of so many elements.", lists::batch),
    filter("capitalize", "", "The first letter large, the others small.", texts::capitalize),
    filter("center", "width=80", "Spaces on both sides.", texts::center),
    filter("combinations", "r", "Every choice of so many elements.", sets::combinations),
    filter(
        "combinations_with_replacement",
        "r",
        "Every choice of so many elements, each as often as one likes.",
        sets::combinations_again,
    ),
    filter("compare_dicts", "other", "What differs between two mappings.", data::compare_dicts),
    filter("compare_lists", "other", "What differs between two lists.", data::compare_lists),
    filter("compress", "selectors", "The elements whose selector counts as yes.", sets::compress),
    filter("contains_whitespace", "", "Whether there is any space in a text.", texts::contains_whitespace),
    filter(
        "default",
        "value, boolean=false",
        "Another value where something is not set (or counts as no).",
        data::default,
    ),
    filter(
        "dict_to_sls_yaml_params",
        "flow_style=false",
        "A mapping as the YAML list of arguments that a state takes.",
        encoding::sls_params,
    ),
    filter(
        "dictsort",
        "case_sensitive=false, by='key', reverse=false",
        "Pairs of keys and values, sorted.",
        lists::dictsort,
    ),
    filter("difference", "other", "What is in the first list only.", sets::difference),
    filter("escape", "", "`<`, `>`, `&` and quotes as HTML writes them.", texts::escape),
    filter("exactly_n_true", "n", "Whether so many elements count as yes.", sets::exactly_n),
    filter("exactly_one_true", "", "Whether one element counts as yes.", sets::exactly_one),
    filter(
        "extend_dict_key_value",
        "keys, value, delimiter=':'",
        "Extends the list at a path of keys.",
        data::extend_key,
    ),
    filter("filesizeformat", "binary=false", "A number of bytes for people.", texts::filesizeformat),
    filter("first", "", "The first element.", lists::first),
    filter(
        "flatten",
        "levels=null, preserve_nulls=false",
        "Lists inside of lists as one list.",
        lists::flatten,
    ),
    filter("float", "default=0.0", "As a number.", data::float),
    filter("format", "…", "A text with `%` places filled, as `'%s' % x`.", texts::format),
    filter("from_entries", "", "A mapping of `{key, value}` elements.", data::from_entries),
    filter(
        "groupby",
        "attribute, default",
        "Pairs of a value of the attribute and the elements that have it.",
        lists::groupby,
    ),
    filter(
        "hmac",
        "shared_secret, challenge_hmac",
        "Whether a text has this HMAC-SHA256 in Base64.",
        encoding::hmac_check,
    ),
    filter("hmac_compute", "shared_secret", "HMAC-SHA256 of a text, in hexadecimal.", encoding::hmac_compute),
    filter(
        "human_to_bytes",
        "default_unit='B', handle_metric=false",
        "`5G` as a number of bytes.",
        texts::human_to_bytes,
    ),
    filter(
        "indent",
        "width=4, first=false, blank=false",
        "Spaces before every line but the first.",
        texts::indent,
    ),
    filter("int", "default=0, base=10", "As a whole number.", data::int),
    filter("intersect", "other", "What is in both lists.", sets::intersect),
    filter("ip_host", "options", "The address with its prefix length.", network::ip_host),
    filter("ipaddr", "options", "The address or addresses that are valid.", network::ipaddr),
    filter("ipv4", "options", "The IPv4 address or addresses.", network::ipv4),
    filter("ipv6", "options", "The IPv6 address or addresses.", network::ipv6),
    filter("ipwrap", "", "IPv6 addresses in brackets.", network::ipwrap),
    filter("is_hex", "", "Whether a text is hexadecimal.", texts::is_hex),
    filter("is_ip", "options", "Whether it is an address.", network::is_ip),
    filter("is_ipv4", "options", "Whether it is an IPv4 address.", network::is_ipv4),
    filter("is_ipv6", "options", "Whether it is an IPv6 address.", network::is_ipv6),
    filter("is_iter", "", "Whether it can be gone through and is no text.", data::is_iter),
    filter("is_list", "", "Whether it is a list.", data::is_list),
    filter("items", "", "Pairs of keys and values.", data::items),
    filter("join", "d='', attribute", "The elements as one text.", lists::join),
    filter("json", "sort_keys=true, indent", "As JSON.", encoding::json),
    filter("json_decode_dict", "", "As it is: texts are Unicode already.", data::same),
    filter("json_decode_list", "", "As it is: texts are Unicode already.", data::same),
    filter("json_encode_dict", "", "As it is: texts are Unicode already.", data::same),
    filter("json_encode_list", "", "As it is: texts are Unicode already.", data::same),
    filter("last", "", "The last element.", lists::last),
    filter("length", "", "How many elements or characters.", lists::length),
    filter("list", "", "As a list.", lists::list),
    filter("load_json", "", "The value of a JSON text.", encoding::load_json),
    filter("load_text", "", "A text, as it is.", data::same),
    filter("load_yaml", "", "The value of a YAML text.", encoding::load_yaml),
    filter("lower", "", "Small letters.", texts::lower),
    filter(
        "map",
        "filter, … or attribute, default",
        "A filter on each element, or an attribute of each.",
        lists::map,
    ),
    filter("max", "case_sensitive=false, attribute", "The largest element.", lists::max),
    filter("md5", "", "MD5 in hexadecimal.", encoding::md5),
    filter("method_call", "name, …", "Calls a method by name.", data::method_call),
    filter("min", "case_sensitive=false, attribute", "The smallest element.", lists::min),
    filter(
        "network_hosts",
        "options",
        "The addresses of hosts in a network, up to 65536.",
        network::network_hosts,
    ),
    filter("network_size", "options", "How many addresses a network has.", network::network_size),
    filter("path_join", "…", "Paths joined by `/`.", texts::path_join),
    filter("permutations", "r", "Every order of so many elements.", sets::permutations),
    filter("pprint", "", "As Python writes it.", encoding::python),
    filter("product", "…", "Every combination of the elements of lists.", sets::product),
    filter("python", "", "As Python writes it.", encoding::python),
    filter("quote", "", "Quoted for a shell.", texts::quote),
    filter(
        "regex_escape",
        "",
        "Special characters of regular expressions with a backslash.",
        patterns::escape,
    ),
    filter(
        "regex_match",
        "pattern, ignorecase=false, multiline=false",
        "The groups of a pattern at the start of a text, or None.",
        patterns::matched,
    ),
    filter(
        "regex_replace",
        "pattern, replacement, ignorecase=false, multiline=false",
        "A text with a pattern replaced.",
        patterns::replace,
    ),
    filter(
        "regex_search",
        "pattern, ignorecase=false, multiline=false",
        "The groups of a pattern anywhere in a text, or None.",
        patterns::search,
    ),
    filter("reject", "test, …", "The elements that a test does not hold for.", lists::reject),
    filter(
        "rejectattr",
        "attribute, test, …",
        "The elements whose attribute a test does not hold for.",
        lists::rejectattr,
    ),
    filter("replace", "old, new, count", "A text with parts replaced.", texts::replace),
    filter("reverse", "", "From the end to the start.", lists::reverse),
    filter(
        "round",
        "precision=0, method='common'",
        "Rounded; `ceil` and `floor` are methods too.",
        lists::round,
    ),
    filter("safe", "", "As it is.", data::same),
    filter("select", "test, …", "The elements that a test holds for.", lists::select),
    filter(
        "selectattr",
        "attribute, test, …",
        "The elements whose attribute a test holds for.",
        lists::selectattr,
    ),
    filter("sequence", "", "A list of one where it is none.", data::sequence),
    filter(
        "set_dict_key_value",
        "keys, value, delimiter=':'",
        "Sets the value at a path of keys.",
        data::set_key,
    ),
    filter("sha1", "", "SHA-1 in hexadecimal.", encoding::sha1),
    filter("sha256", "", "SHA-256 in hexadecimal.", encoding::sha256),
    filter("sha512", "", "SHA-512 in hexadecimal.", encoding::sha512),
    filter("skip", "", "Nothing at all.", texts::skip),
    filter("slice", "slices, fill_with", "So many lists of about the same length.", lists::slice),
    filter("sort", "reverse=false, case_sensitive=false, attribute", "Sorted.", lists::sort),
    filter("sorted_ignorecase", "", "Texts sorted without regard to case.", lists::sorted_ignorecase),
    filter("string", "", "As text.", texts::string),
    filter("striptags", "", "Without HTML tags.", texts::striptags),
    filter("substring_in_list", "list", "Whether a text is a part of any element.", texts::substring_in_list),
    filter("sum", "attribute, start=0", "The sum.", lists::sum),
    filter("symmetric_difference", "other", "What is in one of two lists only.", sets::symmetric_difference),
    filter("title", "", "Every word with a large letter.", texts::title),
    filter("to_bool", "", "`yes`, `1` and `true` as true.", data::to_bool),
    filter("to_camelcase", "uppercamel=false", "`a_name` as `aName`.", texts::to_camelcase),
    filter("to_entries", "", "A list of `{key, value}`.", data::to_entries),
    filter("to_num", "", "As a number, if it is one.", data::to_num),
    filter("to_snake_case", "", "`aName` as `a_name`.", texts::to_snake_case),
    filter("tojson", "indent", "As JSON that may stand in HTML.", encoding::tojson),
    filter(
        "traverse",
        "key, default, delimiter=':'",
        "The value at a path of keys and positions.",
        data::traverse,
    ),
    filter("trim", "chars", "Without the space at both ends.", texts::trim),
    filter(
        "truncate",
        "length=255, killwords=false, end='...', leeway=5",
        "A text cut short.",
        texts::truncate,
    ),
    filter("union", "other", "What is in either list.", sets::union),
    filter("unique", "", "Each element once.", sets::unique),
    filter(
        "update_dict_key_value",
        "keys, value, delimiter=':'",
        "Updates the mapping at a path of keys.",
        data::update_key,
    ),
    filter("upper", "", "Large letters.", texts::upper),
    filter("urlencode", "", "Quoted for a URL.", texts::urlencode),
    filter("urlize", "", "As it is: links are for web pages.", data::same),
    filter("uuid", "", "The UUID that belongs to a text.", encoding::uuid),
    filter("wordcount", "", "How many words.", texts::wordcount),
    filter(
        "wordwrap",
        "width=79, break_long_words=true, wrapstring",
        "Lines of at most so many characters.",
        texts::wordwrap,
    ),
    filter("xmlattr", "autospace=true", "A mapping as attributes of XML.", texts::xmlattr),
    filter("yaml", "flow_style=true", "As YAML.", encoding::yaml),
    filter("yaml_dquote", "", "A text in YAML's double quotes.", encoding::yaml_dquote),
    filter("yaml_encode", "", "A single value as YAML writes it.", encoding::yaml_encode),
    filter("yaml_squote", "", "A text in YAML's single quotes.", encoding::yaml_squote),
    filter("zip", "…", "Tuples of the elements at the same place.", sets::zip),
    filter(
        "zip_longest",
        "…, fillvalue",
        "Tuples of the elements at the same place, up to the longest list.",
        sets::zip_longest,
    ),
];

/// Filters that look at what is missing or unknown themselves.
const OPEN: &[&str] = &["default", "list", "items"];

fn unalias(name: &str) -> &str {
    ALIASES.iter().find(|it| it.0 == name).map_or(name, |it| it.1)
}

/// The filter of a name.
pub(super) fn find(name: &str) -> Option<&'static Filter> {
    let name = unalias(name);
    FILTERS.binary_search_by(|it| it.name.cmp(name)).ok().map(|it| &FILTERS[it])
}

impl Run<'_> {
    /// A value through a filter.
    pub(super) fn filter(&self, name: &str, value: &Value, args: &Called, place: &Place) -> Outcome<Value> {
        self.heap.spend(1)?;
        let Some(filter) = find(name) else { return Err(unknown(name)) };
        if OPEN.contains(&filter.name) {
            return (filter.call)(self, value, args, place);
        }
        value.present()?;
        Self::openly(value, args, |value, args| (filter.call)(self, value, args, place))
    }
}

fn unknown(name: &str) -> Failure {
    if let Some((_, reason)) = REFUSED.iter().find(|it| it.0 == unalias(name)) {
        let help =
            "the same tree must give the same result: put the value into the pillar, or ask the minion";
        return Failure::new("E0203", format!("the filter `{name}` is refused: {reason}")).help(help);
    }
    if ABSENT.contains(&name) {
        return Failure::new("E0203", format!("the filter `{name}` of Salt is not available"))
            .help("docs/reference/jinja.md lists what there is");
    }
    let known = FILTERS.iter().map(|it| it.name).chain(ALIASES.iter().map(|it| it.0));
    Failure::new("E0203", format!("there is no filter `{name}`")).maybe_help(did_you_mean(name, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_in_order_and_none_is_both_there_and_not() {
        assert!(FILTERS.is_sorted_by(|a, b| a.name < b.name));
        for (name, _) in REFUSED {
            assert!(find(name).is_none(), "{name}");
        }
        for name in ABSENT {
            assert!(find(name).is_none(), "{name}");
        }
    }
}
