use super::*;

fn paths(text: &str) -> Vec<String> {
    Source::new(text).crate_paths().iter().map(|path| path.segments.join("::")).collect()
}

#[test]
fn comments_and_literals_are_blanked_in_place() {
    let text = "a // b \"\n/* c /* d */ e */ f \"g\\\"h{\" 'i' '\\'' 'j r#\"k\"l\"# br\"m\" n";
    let code = Source::new(text).code;
    assert_eq!(code.len(), text.len());
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "f", "'j", "n"]);
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn a_name_that_ends_like_a_prefix_is_not_one() {
    assert_eq!(Source::new("bar\"x\" abc'y'").code.split_whitespace().collect::<Vec<_>>(), ["bar", "abc"]);
}

#[test]
fn function_lengths_span_from_fn_to_closing_brace() {
    let text = "fn a() {}\nfn b(f: fn(u8) -> u8) -> [u8; 2]\nwhere\n    A: B,\n{\n    '{';\n}\ntrait T { fn c(); }\n";
    let found = Source::new(text).functions();
    let expected = [("a", 1, 1), ("b", 2, 6)];
    let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.line, f.line_count)).collect();
    assert_eq!(found, expected);
}

#[test]
fn use_groups_are_expanded() {
    let text = "use crate::{model::{Offset, batch::{A, B}}, config};\nlet x = crate::storage::log::f(crate::model::y);";
    assert_eq!(
        paths(text),
        ["model::Offset", "model::batch::A", "model::batch::B", "config", "storage::log::f", "model::y"]
    );
}

#[test]
fn what_is_no_path_below_the_root_is_left_alone() {
    assert_eq!(
        paths("pub(crate) fn a() {} // crate::model\nlet b = \"crate::config\";"),
        Vec::<String>::new()
    );
    assert_eq!(paths("use crate as root; extern crate self as r; use crate::*;"), ["as", "as", "*"]);
}

#[test]
fn super_chains_know_their_inline_modules() {
    let text = "use super::a;\nmod tests {\n    use super::super::b;\n}\n";
    assert_eq!(Source::new(text).super_chains(), [(1, 1, 0), (2, 3, 1)]);
}
