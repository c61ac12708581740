use super::*;

#[track_caller]
fn check(a: &str, b: &str, expected: &str) {
    let [a, b] = [a, b].map(|text| LongDouble::parse(text.as_bytes()).expect("a number"));
    assert_eq!((a + b).to_string(), expected);
    assert_eq!((b + a).to_string(), expected);
}

#[track_caller]
fn check_text(text: &str, expected: Option<&str>) {
    assert_eq!(
        LongDouble::parse(text.as_bytes()).map(|number| number.to_string()).as_deref(),
        expected,
        "{text}"
    );
}

#[test]
fn small_decimals_add_up_as_people_expect() {
    check("10.50", "0.1", "10.6");
    check("0.1", "0.2", "0.3");
    check("5.0e3", "2.0e2", "5200");
    check("10.6", "-5", "5.6");
    check("1", "-1", "0");
    check("-0.0", "-0.0", "0");
    check("3", "1.000000000000000005", "4.00000000000000001");
    check("3", "0.000000000000000005", "3");
}

#[test]
fn what_a_mantissa_cannot_hold_is_rounded() {
    check("1234567.1", "0.1", "1234567.20000000000004547");
    check("18446744073709551615", "1", "18446744073709551616");
    check("18446744073709551616", "1", "18446744073709551616");
    check("18446744073709551616", "3", "18446744073709551620");
    check("-9223372036854775808", "-1", "-9223372036854775809");
    check("1e4932", "-1e4932", "0");
    check("1e20", "1e-20", "100000000000000000000");
}

#[test]
fn sums_beyond_the_range_are_infinite() {
    let large = LongDouble::parse(b"1e4932").expect("a number");
    assert!(!(large + large).is_finite());
    let infinite = LongDouble::parse(b"-inf").expect("infinite");
    assert!(!(infinite + large).is_finite());
}

#[test]
fn numbers_are_read_in_all_of_c_spellings() {
    check_text("+5.", Some("5"));
    check_text(".5", Some("0.5"));
    check_text("-.5E+1", Some("-5"));
    check_text("0x1.8p3", Some("12"));
    check_text("0X.8", Some("0.5"));
    check_text("00012", Some("12"));
    check_text("0e999999999999999999999", Some("0"));
    check_text("1e-4000", Some("0"));
    check_text("-1e-4000", Some("0"));
    check_text("Infinity", Some("inf"));
}

#[test]
fn what_is_no_number_is_refused() {
    for text in [
        "",
        "-",
        ".",
        "e5",
        "1e",
        "1e+",
        "0x",
        "0x.",
        "0x1p",
        " 1",
        "1 ",
        "1.2.3",
        "nan",
        "--1",
        "1f",
        "1e4933",
        "1e-4952",
        "1e99999999999999999999",
        "0x1p16384",
        "0x1p-16447",
        "1\0",
    ] {
        check_text(text, None);
    }
    assert_eq!(LongDouble::parse(&[b'1'; TEXT_BYTES_END]), None);
}
