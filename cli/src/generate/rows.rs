//! One row of each dataset, as a pure function of the plan and the row's number.
//!
//! Nothing is remembered from row to row: a replay of row 17 is made by making row 17 again, the three files can be
//! written at the same time, and a poster's or a user's traits come from dice of their own.

use chrono::{DateTime, Datelike, Timelike};

use super::json_line::{JsonLine, decimal, padded};
use super::words::{
    ADJECTIVES, CATEGORIES, COUNTRIES, FIRST_NAMES, LAST_NAMES, NOUNS, OCCASIONS, PICTURES, SENTENCES,
};
use crate::dice::Dice;

/// What all rows of a run have in common.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Fixes everything.
    pub seed: u64,
    /// Posts, that is rows of each dataset before replays.
    pub rows: u64,
    /// Share of rows that break the contract or come in an unusual shape.
    pub dirty: f64,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// As the stock client sends it.
    Usual,
    /// In another of the shapes that clients use; a clean row comes of it.
    Varied,
    /// Against the contract; it belongs in quarantine.
    Broken,
}

/// A dataset that this program can invent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataset {
    /// A post.
    Pin,
    /// Where and when it was made.
    Geo,
    /// By whom.
    User,
}

impl Dataset {
    /// All three, in the order in which clients send them.
    pub const ALL: [Dataset; 3] = [Dataset::Pin, Dataset::Geo, Dataset::User];

    /// The dataset's name.
    pub fn name(self) -> &'static str {
        match self {
            Dataset::Pin => "pin",
            Dataset::Geo => "geo",
            Dataset::User => "user",
        }
    }

    /// Appends row `number` with its newline.
    pub fn write(self, out: &mut Vec<u8>, plan: &Plan, number: u64) -> Condition {
        let mut dice = Dice::new(plan.seed, self as u64, number);
        let condition = match (dice.chance(plan.dirty), dice.chance(0.5)) {
            (false, _) => Condition::Usual,
            (true, false) => Condition::Varied,
            (true, true) => Condition::Broken,
        };
        match self {
            Dataset::Pin => pin(out, plan, number, dice, condition),
            Dataset::Geo => geo(out, number, dice, condition),
            Dataset::User => user(out, plan, number, dice, condition),
        }
        condition
    }
}

/// Dice lanes of what rows share; those of the datasets come before.
const POSTER_LANE: u64 = 16;
const USER_LANE: u64 = 17;

/// 2017-10-19 00:00:00 and the seconds of the five years after it.
const POSTS_BEGIN: i64 = 1_508_371_200;
const POSTS_SPAN: u64 = 5 * 365 * 86_400 + 86_400;
/// 2015-10-21 00:00:00 and the seconds of the two years after it.
const JOINS_BEGIN: i64 = 1_445_385_600;
const JOINS_SPAN: u64 = 731 * 86_400;

/// What is wrong or unusual with a row, one of three kinds a dataset; none of them in usual rows.
fn quirk(dice: &mut Dice, condition: Condition, of: Condition) -> Option<u64> {
    let kind = dice.below(3);
    (condition == of).then_some(kind)
}

fn pin(out: &mut Vec<u8>, plan: &Plan, number: u64, mut dice: Dice, condition: Condition) {
    let broken = quirk(&mut dice, condition, Condition::Broken);
    let varied = quirk(&mut dice, condition, Condition::Varied);
    let category = CATEGORIES[dice.skewed_below(CATEGORIES.len() as u64) as usize];
    let story = dice.chance(0.07);
    // The site answered with nothing but an error page: every text is its marker, and there is no picture.
    let unknown = story && dice.chance(0.1);
    let no_picture = unknown || (story && dice.chance(0.18));
    let video = !story && dice.chance(0.03);
    let mut text = String::with_capacity(256);

    let mut line = JsonLine::open(out, dice.chance(0.5));
    write_number(&mut line, "index", "ind", number, broken, varied);
    write_uuid(&mut line, &mut dice);
    if unknown {
        line.string("title", "No Title Data Available");
    } else {
        title(&mut text, &mut dice, category);
        line.string("title", &text);
    }
    text.clear();
    match dice.below(200) {
        _ if story => text.push_str("No description available Story format"),
        0..4 => text.push_str("No description available"),
        4 => text.push_str("Untitled"),
        _ => description(&mut text, &mut dice),
    }
    line.string("description", &text);
    if unknown {
        line.string("poster_name", "User Info Error");
        line.string("follower_count", if broken == Some(2) { "plenty" } else { "User Info Error" });
    } else {
        let poster = Dice::new(plan.seed, POSTER_LANE, dice.skewed_below(plan.rows / 4 + 1));
        write_poster(&mut line, &mut text, &mut dice, poster, broken, varied);
    }
    text.clear();
    if unknown || dice.chance(0.005) {
        text.push_str("N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e");
    } else {
        tags(&mut text, &mut dice, category);
    }
    line.string("tag_list", &text);
    line.string(
        "is_image_or_video",
        match (story, video) {
            (true, _) => "multi-video(story page format)",
            (false, true) => "video",
            (false, false) => "image",
        },
    );
    text.clear();
    if no_picture {
        text.push_str("Image src error.");
    } else {
        picture(&mut text, &mut dice, story || video);
    }
    line.string("image_src", &text);
    line.integer("downloaded", u64::from(!no_picture));
    if varied != Some(1) {
        text.clear();
        text.push_str("Local save in /data/");
        text.push_str(category);
        line.string("save_location", &text);
    }
    line.string("category", category);
    line.close();
}

fn geo(out: &mut Vec<u8>, number: u64, mut dice: Dice, condition: Condition) {
    let broken = quirk(&mut dice, condition, Condition::Broken);
    let varied = quirk(&mut dice, condition, Condition::Varied);
    let ascii = dice.chance(0.5);
    let posted = POSTS_BEGIN + dice.below(POSTS_SPAN) as i64;
    let mut value = Vec::with_capacity(48);

    let mut line = JsonLine::open(out, ascii);
    write_number(&mut line, "ind", "index", number, broken, varied);
    match broken {
        Some(2) if dice.chance(0.5) => line.string("timestamp", "2021-02-30 25:61:00"),
        _ => write_time(&mut line, "timestamp", posted, &mut dice, varied),
    }
    match broken {
        Some(2) => line.string("latitude", "abc"),
        _ => {
            degrees(&mut value, &mut dice, 90);
            line.verbatim("latitude", &value);
        }
    }
    value.clear();
    degrees(&mut value, &mut dice, 180);
    line.verbatim("longitude", &value);
    line.string("country", COUNTRIES[dice.skewed_below(COUNTRIES.len() as u64) as usize]);
    line.close();
}

fn user(out: &mut Vec<u8>, plan: &Plan, number: u64, mut dice: Dice, condition: Condition) {
    let broken = quirk(&mut dice, condition, Condition::Broken);
    let varied = quirk(&mut dice, condition, Condition::Varied);
    let ascii = dice.chance(0.5);
    let usual_person = dice.skewed_below(plan.rows / 2 + 1);
    let person = match broken {
        // Nothing else tells two rows without a number apart, and only replays shall be equal.
        Some(0 | 1) => plan.rows + number,
        _ => usual_person,
    };
    let mut person = Dice::new(plan.seed, USER_LANE, person);
    let joined = JOINS_BEGIN + person.below(JOINS_SPAN) as i64;

    let mut line = JsonLine::open(out, ascii);
    write_number(&mut line, "ind", "index", number, broken, varied);
    line.string("first_name", person.pick(FIRST_NAMES));
    line.string("last_name", person.pick(LAST_NAMES));
    let age = 20 + person.skewed_below(41);
    match (broken, dice.chance(0.5)) {
        (Some(2), true) => line.string("age", "abc"),
        _ => line.integer("age", age),
    }
    match broken {
        Some(2) => line.string("date_joined", "2016-13-40 00:00:00"),
        _ => write_time(&mut line, "date_joined", joined, &mut dice, varied),
    }
    line.close();
}

/// The row's number under its usual name or the other one; missing or no number in broken rows of kinds 0 and 1.
fn write_number(
    line: &mut JsonLine<'_>,
    usual: &str,
    other: &str,
    number: u64,
    broken: Option<u64>,
    varied: Option<u64>,
) {
    match (broken, varied) {
        (Some(0), _) => {}
        (Some(1), _) => line.string(usual, "abc"),
        (_, Some(0)) => line.integer(other, number),
        _ => line.integer(usual, number),
    }
}

fn write_uuid(line: &mut JsonLine<'_>, dice: &mut Dice) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    // Version 4, variant 1.
    let high = dice.draw() & !0xf000 | 0x4000;
    let low = dice.draw() >> 2 | 0x8000_0000_0000_0000;
    let bits = u128::from(high) << 64 | u128::from(low);
    let mut text = Vec::with_capacity(38);
    text.push(b'"');
    for digit in 0..32 {
        if matches!(digit, 8 | 12 | 16 | 20) {
            text.push(b'-');
        }
        text.push(HEX[(bits >> (124 - 4 * digit) & 15) as usize]);
    }
    text.push(b'"');
    line.verbatim("unique_id", &text);
}

fn title(text: &mut String, dice: &mut Dice, category: &str) {
    match dice.below(2000) {
        0 => return,
        1..1200 => {
            push_words(text, &[dice.pick(ADJECTIVES), category, dice.pick(NOUNS), dice.pick(OCCASIONS)])
        }
        1200..1220 => {
            push_words(text, &[dice.pick(ADJECTIVES)]);
            text.push('\n');
            push_words(text, &[dice.pick(NOUNS)]);
        }
        _ => {
            text.push_str(&(3 + dice.below(97)).to_string());
            text.push(' ');
            push_words(text, &[dice.pick(ADJECTIVES), dice.pick(NOUNS), dice.pick(OCCASIONS)]);
        }
    }
    match dice.below(100) {
        0..8 => push_words(text, &["", dice.pick(PICTURES)]),
        8..12 => text.push(' '),
        12 => text.push('\n'),
        _ => {}
    }
}

fn description(text: &mut String, dice: &mut Dice) {
    for sentence in 0..1 + dice.below(4) {
        if sentence > 0 {
            text.push(if dice.chance(0.03) { '\n' } else { ' ' });
        }
        text.push_str(dice.pick(SENTENCES));
    }
    match dice.below(10) {
        // The site cuts long texts so.
        0..4 => text.push_str("…\u{a0}"),
        4 => push_words(text, &["", dice.pick(PICTURES)]),
        _ => {}
    }
}

/// The poster's name and count, both from the poster's own dice: most posts of one poster show the same count.
fn write_poster(
    line: &mut JsonLine<'_>,
    text: &mut String,
    dice: &mut Dice,
    mut poster: Dice,
    broken: Option<u64>,
    varied: Option<u64>,
) {
    text.clear();
    match poster.below(10) {
        0..5 => push_words(text, &[poster.pick(FIRST_NAMES), poster.pick(LAST_NAMES)]),
        5..7 => push_words(text, &["The", poster.pick(ADJECTIVES), poster.pick(NOUNS)]),
        7..9 => push_words(
            text,
            &[poster.pick(FIRST_NAMES), "&", poster.pick(FIRST_NAMES), "|", "Lifestyle Blog"],
        ),
        _ => push_words(text, &[poster.pick(FIRST_NAMES), poster.pick(PICTURES)]),
    }
    line.string("poster_name", text);
    text.clear();
    let scale = poster.below(100);
    let mut count = match scale {
        0..30 => poster.below(1000),
        30..96 => 1 + poster.skewed_below(999),
        _ => 1 + poster.skewed_below(15),
    };
    if dice.chance(0.1) {
        count += dice.below(2);
    }
    text.push_str(&count.to_string());
    if varied == Some(2) {
        text.push('.');
        text.push_str(&(1 + dice.below(9)).to_string());
    }
    match scale {
        // A fraction makes sense only of thousands.
        0..30 if varied != Some(2) => {}
        0..96 => text.push('k'),
        _ => text.push('M'),
    }
    line.string("follower_count", if broken == Some(2) { "plenty" } else { text });
}

fn tags(text: &mut String, dice: &mut Dice, category: &str) {
    for tag in 0..5 + dice.below(5) {
        if tag > 0 {
            text.push(',');
        }
        push_words(text, &[dice.pick(ADJECTIVES), if tag == 0 { category } else { dice.pick(NOUNS) }]);
    }
}

fn picture(text: &mut String, dice: &mut Dice, moving: bool) {
    let name = format!("{:016x}{:016x}", dice.draw(), dice.draw());
    text.push_str("https://i.pinimg.com/");
    text.push_str(if moving { "videos/thumbnails/originals/" } else { "originals/" });
    for pair in [&name[0..2], &name[2..4], &name[4..6]] {
        text.push_str(pair);
        text.push('/');
    }
    text.push_str(&name);
    text.push_str(if moving { ".0000001.jpg" } else { ".jpg" });
}

fn push_words(text: &mut String, words: &[&str]) {
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        text.push_str(word);
    }
}

/// A time as `2020-08-28 03:52:47`, and in varied rows of kinds 1 and 2 in the other forms that clients use.
fn write_time(line: &mut JsonLine<'_>, name: &str, seconds: i64, dice: &mut Dice, varied: Option<u64>) {
    let Some(time) = DateTime::from_timestamp(seconds, 0) else {
        return;
    };
    let form = match varied {
        Some(1) => 1,
        Some(2) => 2 + dice.below(2),
        _ => 0,
    };
    let (year, month, day) = (time.year().unsigned_abs().into(), time.month().into(), time.day().into());
    let mut text = Vec::with_capacity(40);
    match form {
        2 => numbers(&mut text, b"\"", &[(month, 2, b"/"), (day, 2, b"/"), (year, 4, b", ")]),
        3 => numbers(&mut text, b"{\"$date\": \"", &[(year, 4, b"-"), (month, 2, b"-"), (day, 2, b"T")]),
        1 => numbers(&mut text, b"\"", &[(year, 4, b"-"), (month, 2, b"-"), (day, 2, b"T")]),
        _ => numbers(&mut text, b"\"", &[(year, 4, b"-"), (month, 2, b"-"), (day, 2, b" ")]),
    }
    let end: &[u8] = if form == 3 { b"Z\"}" } else { b"\"" };
    let (hour, minute, second) = (time.hour().into(), time.minute().into(), time.second().into());
    numbers(&mut text, b"", &[(hour, 2, b":"), (minute, 2, b":"), (second, 2, end)]);
    line.verbatim(name, &text);
}

/// Numbers of fixed widths, each followed by its text.
fn numbers(out: &mut Vec<u8>, before: &[u8], parts: &[(u64, usize, &[u8])]) {
    out.extend_from_slice(before);
    for &(number, width, after) in parts {
        padded(out, number, width);
        out.extend_from_slice(after);
    }
}

/// Degrees from -limit to limit with six significant digits, as Python prints them: `-75.3`, `9.96191`, `-174.0`.
fn degrees(out: &mut Vec<u8>, dice: &mut Dice, limit: u64) {
    let millionths = dice.below(limit * 1_000_000);
    let (step, places) = match millionths {
        0..10_000_000 => (10, 5),
        10_000_000..100_000_000 => (100, 4),
        _ => (1_000, 3),
    };
    let (whole, mut fraction, mut places) = (millionths / 1_000_000, millionths % 1_000_000 / step, places);
    while places > 1 && fraction % 10 == 0 {
        fraction /= 10;
        places -= 1;
    }
    if dice.chance(0.5) && millionths >= step {
        out.push(b'-');
    }
    decimal(out, whole);
    out.push(b'.');
    padded(out, fraction, places);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
    use pinlake_schema::Catalog;
    use serde_json::Value;

    use super::*;

    fn rows(dataset: Dataset, dirty: f64) -> Vec<(Condition, Value)> {
        let plan = Plan { seed: 7, rows: 4000, dirty };
        (0..plan.rows)
            .map(|number| {
                let mut out = Vec::new();
                let condition = dataset.write(&mut out, &plan, number);
                assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
                (condition, serde_json::from_slice(&out).unwrap())
            })
            .collect()
    }

    fn fields(row: &Value) -> Vec<&str> {
        row.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn usual_pins_have_the_clients_shape() {
        let rows = rows(Dataset::Pin, 0.0);
        for (at, (condition, row)) in rows.iter().enumerate() {
            assert_eq!(*condition, Condition::Usual);
            assert_eq!(
                fields(row),
                [
                    "index",
                    "unique_id",
                    "title",
                    "description",
                    "poster_name",
                    "follower_count",
                    "tag_list",
                    "is_image_or_video",
                    "image_src",
                    "downloaded",
                    "save_location",
                    "category"
                ]
            );
            assert_eq!(row["index"], at as u64);
            assert_eq!(row["unique_id"].as_str().unwrap().len(), 36);
            let category = row["category"].as_str().unwrap();
            assert_eq!(row["save_location"], format!("Local save in /data/{category}"));
            let story = row["is_image_or_video"] == "multi-video(story page format)";
            assert_eq!(story, row["description"] == "No description available Story format");
            assert_eq!(row["image_src"] == "Image src error.", row["downloaded"] == 0);
            assert_eq!(row["poster_name"] == "User Info Error", row["follower_count"] == "User Info Error");
        }
        let some = |field: &str, test: fn(&str) -> bool| {
            assert!(rows.iter().any(|(_, row)| test(row[field].as_str().unwrap())), "{field}");
        };
        some("title", |text| text == "No Title Data Available");
        some("title", |text| text.trim_end().contains('\n'));
        some("title", |text| text.chars().any(|letter| letter > '\u{ffff}'));
        some("description", |text| text.ends_with("…\u{a0}"));
        some("description", |text| text == "Untitled");
        some("tag_list", |text| text == "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e");
        some("follower_count", |text| text.ends_with('k'));
        some("follower_count", |text| text.ends_with('M'));
        some("follower_count", |text| text.parse::<u64>().is_ok());
    }

    #[test]
    fn usual_geo_and_user_rows_stay_in_their_ranges() {
        for (_, row) in rows(Dataset::Geo, 0.0) {
            assert_eq!(fields(&row), ["ind", "timestamp", "latitude", "longitude", "country"]);
            let time = row["timestamp"].as_str().unwrap();
            assert!(("2017-10-19 00:00:00".."2022-10-19 00:00:00").contains(&time), "{time}");
            assert!(row["latitude"].as_f64().unwrap().abs() <= 90.0);
            assert!(row["longitude"].as_f64().unwrap().abs() <= 180.0);
        }
        for (_, row) in rows(Dataset::User, 0.0) {
            assert_eq!(fields(&row), ["ind", "first_name", "last_name", "age", "date_joined"]);
            assert!((20..=60).contains(&row["age"].as_u64().unwrap()));
            let time = row["date_joined"].as_str().unwrap();
            assert!(("2015-10-21 00:00:00".."2017-10-21 00:00:00").contains(&time), "{time}");
        }
    }

    #[test]
    fn dirt_is_half_broken_and_half_varied() {
        for dataset in Dataset::ALL {
            let rows = rows(dataset, 0.2);
            let count = |condition| rows.iter().filter(|(found, _)| *found == condition).count();
            assert!((320..480).contains(&count(Condition::Broken)), "{dataset:?}");
            assert!((320..480).contains(&count(Condition::Varied)), "{dataset:?}");
            let number = |row: &Value| row.get("ind").or(row.get("index")).and_then(Value::as_u64);
            for (condition, row) in &rows {
                if *condition != Condition::Broken {
                    assert!(number(row).is_some(), "{row}");
                }
            }
        }
    }

    #[test]
    fn the_contracts_take_what_is_not_broken_and_nothing_else() {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let plan = Plan { seed: 7, rows: 400, dirty: 0.5 };
        for dataset in Dataset::ALL {
            for number in 0..plan.rows {
                let mut out = Vec::new();
                let condition = dataset.write(&mut out, &plan, number);
                let mut intake = RecordCleaner::new(Arc::clone(&catalog), DateTime::UNIX_EPOCH);
                let origin =
                    RecordOrigin { source: "file/made", position: Position::Line(1), record_id: None };
                intake.push(out.trim_ascii_end(), Some(dataset.name()), &origin);
                let quarantined = intake.counts().any(|count| count.quarantined > 0);
                let row = String::from_utf8_lossy(&out);
                assert_eq!(quarantined, condition == Condition::Broken, "{dataset:?} {condition:?}: {row}");
            }
        }
    }

    #[test]
    fn replays_of_a_row_are_the_same_bytes() {
        let plan = Plan { seed: 7, rows: 100, dirty: 0.5 };
        for dataset in Dataset::ALL {
            let (mut first, mut again) = (Vec::new(), Vec::new());
            dataset.write(&mut first, &plan, 17);
            dataset.write(&mut again, &plan, 17);
            assert_eq!(first, again);
        }
    }

    #[test]
    fn degrees_have_six_digits_at_most() {
        let mut dice = Dice::new(3, 0, 0);
        for _ in 0..2000 {
            let mut out = Vec::new();
            degrees(&mut out, &mut dice, 180);
            let text = String::from_utf8(out).unwrap();
            let value: f64 = text.parse().unwrap();
            assert_eq!(format!("{value:?}"), text, "as Python prints it");
            assert!(text.bytes().filter(u8::is_ascii_digit).count() <= 6, "{text}");
        }
    }
}
