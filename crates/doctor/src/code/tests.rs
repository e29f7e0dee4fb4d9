//! That codes are stable names with texts, and that the page lists them.

use super::*;

#[test]
fn codes_are_unique_and_in_kebab_case() {
    let mut names: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    for name in &names {
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), Code::ALL.len());
}

#[test]
fn every_text_is_a_sentence_in_one_cell() {
    for code in Code::ALL {
        for text in [code.meaning(), code.remedy()] {
            assert!(text.ends_with('.') && !text.contains(['|', '\n']), "{text}");
        }
    }
}

#[test]
fn the_page_lists_every_code() {
    let page = include_str!("../../../../docs/doctor.md");
    let table = reference();
    assert!(page.contains(&table), "put this table into docs/doctor.md:\n{table}");
}
