//! The rows of each dataset. A row is a pure function of the plan and its number.
//!
//! There is no state between rows: a duplicate of row 17 is row 17 generated again, the three files are written in parallel,
//! and posters and users have random sequences of their own.

use std::io;

use chrono::DateTime;
use serde::Serialize;

use super::json_line::write_line;
use super::words::{
    ADJECTIVES, CATEGORIES, COUNTRIES, FIRST_NAMES, LAST_NAMES, NOUNS, OCCASIONS, PICTURES, SENTENCES,
};
use crate::seeded_rng::SeededRng;

/// The parameters of a run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The seed of all random sequences.
    pub seed: u64,
    /// Rows of each dataset, without duplicates.
    pub rows: u64,
    /// Share of rows that break the contract or have an unusual shape, from 0 to 1.
    pub dirty: f64,
}

/// The kind of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// As the stock client sends it.
    Usual,
    /// In another shape that clients use; it cleans without error.
    Varied,
    /// Breaks the contract; it belongs in quarantine.
    Broken,
}

/// A dataset that can be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataset {
    /// A post.
    Pin,
    /// The place and time of a post.
    Geo,
    /// The user of a post.
    User,
}

impl Dataset {
    /// All three, in the order of the clients.
    pub const ALL: [Dataset; 3] = [Dataset::Pin, Dataset::Geo, Dataset::User];

    /// The dataset's name.
    pub fn name(self) -> &'static str {
        match self {
            Dataset::Pin => "pin",
            Dataset::Geo => "geo",
            Dataset::User => "user",
        }
    }

    /// Appends row `number` as a line, and returns its kind.
    pub fn write_row(self, out: &mut Vec<u8>, plan: &Plan, number: u64) -> io::Result<Condition> {
        let mut rng = SeededRng::new(plan.seed, self as u64, number);
        let condition = match (rng.next_bool(plan.dirty), rng.next_bool(0.5)) {
            (false, _) => Condition::Usual,
            (true, false) => Condition::Varied,
            (true, true) => Condition::Broken,
        };
        match self {
            Dataset::Pin => write_pin(out, plan, number, rng, condition)?,
            Dataset::Geo => write_geo(out, number, rng, condition)?,
            Dataset::User => write_user(out, plan, number, rng, condition)?,
        }
        Ok(condition)
    }
}

/// Random streams of posters and users. The streams of the datasets are below.
const POSTER_STREAM: u64 = 16;
const USER_STREAM: u64 = 17;

/// Posts are dated 2017-10-19 and the five years after it.
const POSTS_START: i64 = 1_508_371_200;
const POSTS_SECONDS: u64 = 5 * 365 * 86_400 + 86_400;
/// Users joined on 2015-10-21 or in the two years after it.
const JOINS_START: i64 = 1_445_385_600;
const JOINS_SECONDS: u64 = 731 * 86_400;

/// Which of three faults or variations a row of the condition `wanted` has; `None` for other rows.
fn draw_variant(rng: &mut SeededRng, condition: Condition, wanted: Condition) -> Option<u64> {
    let variant = rng.next_below(3);
    (condition == wanted).then_some(variant)
}

/// A field that holds a number, except in broken rows.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum NumberField {
    Integer(u64),
    Float(f64),
    Text(&'static str),
}

/// A time in one of the formats that clients send.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum TimeField {
    Text(String),
    ExtendedJson {
        #[serde(rename = "$date")]
        date: String,
    },
}

/// The number of a row, under one of two names, or missing.
#[derive(Debug, Default, Serialize)]
struct RowNumber {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<NumberField>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ind: Option<NumberField>,
}

#[derive(Debug, Serialize)]
struct PinRow<'a> {
    #[serde(flatten)]
    number: RowNumber,
    unique_id: String,
    title: String,
    description: String,
    poster_name: String,
    follower_count: String,
    tag_list: String,
    is_image_or_video: &'static str,
    image_src: String,
    downloaded: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    save_location: Option<String>,
    category: &'a str,
}

#[derive(Debug, Serialize)]
struct GeoRow {
    #[serde(flatten)]
    number: RowNumber,
    timestamp: TimeField,
    latitude: NumberField,
    longitude: NumberField,
    country: &'static str,
}

#[derive(Debug, Serialize)]
struct UserRow {
    #[serde(flatten)]
    number: RowNumber,
    first_name: &'static str,
    last_name: &'static str,
    age: NumberField,
    date_joined: TimeField,
}

fn write_pin(
    out: &mut Vec<u8>,
    plan: &Plan,
    number: u64,
    mut rng: SeededRng,
    condition: Condition,
) -> io::Result<()> {
    let broken = draw_variant(&mut rng, condition, Condition::Broken);
    let varied = draw_variant(&mut rng, condition, Condition::Varied);
    let category = CATEGORIES[rng.next_skewed_below(CATEGORIES.len() as u64) as usize];
    let is_story = rng.next_bool(0.07);
    // The site answered with an error page: every text is a placeholder, and there is no picture.
    let is_unknown = is_story && rng.next_bool(0.1);
    let has_no_picture = is_unknown || (is_story && rng.next_bool(0.18));
    let is_video = !is_story && rng.next_bool(0.03);
    let ascii = rng.next_bool(0.5);
    let unique_id = draw_uuid(&mut rng);
    let title =
        if is_unknown { "No Title Data Available".to_owned() } else { draw_title(&mut rng, category) };
    let description = match rng.next_below(200) {
        _ if is_story => "No description available Story format".to_owned(),
        0..4 => "No description available".to_owned(),
        4 => "Untitled".to_owned(),
        _ => draw_description(&mut rng),
    };
    let (poster_name, mut follower_count) = if is_unknown {
        ("User Info Error".to_owned(), "User Info Error".to_owned())
    } else {
        let poster = SeededRng::new(plan.seed, POSTER_STREAM, rng.next_skewed_below(plan.rows / 4 + 1));
        draw_poster(&mut rng, poster, varied)
    };
    if broken == Some(2) {
        "plenty".clone_into(&mut follower_count);
    }
    let tag_list = if is_unknown || rng.next_bool(0.005) {
        "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e".to_owned()
    } else {
        draw_tags(&mut rng, category)
    };
    let image_src = if has_no_picture {
        "Image src error.".to_owned()
    } else {
        draw_picture(&mut rng, is_story || is_video)
    };
    let row = PinRow {
        number: row_number("index", number, broken, varied),
        unique_id,
        title,
        description,
        poster_name,
        follower_count,
        tag_list,
        is_image_or_video: match (is_story, is_video) {
            (true, _) => "multi-video(story page format)",
            (false, true) => "video",
            (false, false) => "image",
        },
        image_src,
        downloaded: u64::from(!has_no_picture),
        save_location: (varied != Some(1)).then(|| format!("Local save in /data/{category}")),
        category,
    };
    write_line(out, ascii, &row)
}

fn write_geo(out: &mut Vec<u8>, number: u64, mut rng: SeededRng, condition: Condition) -> io::Result<()> {
    let broken = draw_variant(&mut rng, condition, Condition::Broken);
    let varied = draw_variant(&mut rng, condition, Condition::Varied);
    let ascii = rng.next_bool(0.5);
    let posted = POSTS_START + rng.next_below(POSTS_SECONDS) as i64;
    let timestamp = match broken {
        Some(2) if rng.next_bool(0.5) => TimeField::Text("2021-02-30 25:61:00".to_owned()),
        _ => draw_time_format(&mut rng, posted, varied),
    };
    let latitude = match broken {
        Some(2) => NumberField::Text("abc"),
        _ => NumberField::Float(draw_degrees(&mut rng, 90)),
    };
    let longitude = NumberField::Float(draw_degrees(&mut rng, 180));
    let country = COUNTRIES[rng.next_skewed_below(COUNTRIES.len() as u64) as usize];
    let number = row_number("ind", number, broken, varied);
    write_line(out, ascii, &GeoRow { number, timestamp, latitude, longitude, country })
}

fn write_user(
    out: &mut Vec<u8>,
    plan: &Plan,
    number: u64,
    mut rng: SeededRng,
    condition: Condition,
) -> io::Result<()> {
    let broken = draw_variant(&mut rng, condition, Condition::Broken);
    let varied = draw_variant(&mut rng, condition, Condition::Varied);
    let ascii = rng.next_bool(0.5);
    let usual_person = rng.next_skewed_below(plan.rows / 2 + 1);
    let person = match broken {
        // Rows without a number get a person of their own, so that only duplicates are equal.
        Some(0 | 1) => plan.rows + number,
        _ => usual_person,
    };
    let mut person = SeededRng::new(plan.seed, USER_STREAM, person);
    let joined = JOINS_START + person.next_below(JOINS_SECONDS) as i64;
    let (first_name, last_name) = (person.choose(FIRST_NAMES), person.choose(LAST_NAMES));
    let age = 20 + person.next_skewed_below(41);
    let age = match (broken, rng.next_bool(0.5)) {
        (Some(2), true) => NumberField::Text("abc"),
        _ => NumberField::Integer(age),
    };
    let date_joined = match broken {
        Some(2) => TimeField::Text("2016-13-40 00:00:00".to_owned()),
        _ => draw_time_format(&mut rng, joined, varied),
    };
    let number = row_number("ind", number, broken, varied);
    write_line(out, ascii, &UserRow { number, first_name, last_name, age, date_joined })
}

/// The row's number under the name `usual`, or under the other one in varied rows of variant 0. In broken rows it is missing
/// (variant 0) or no number (variant 1).
fn row_number(usual: &str, number: u64, broken: Option<u64>, varied: Option<u64>) -> RowNumber {
    let value = match broken {
        Some(0) => return RowNumber::default(),
        Some(1) => NumberField::Text("abc"),
        _ => NumberField::Integer(number),
    };
    let is_swapped = broken != Some(1) && varied == Some(0);
    if (usual == "index") == is_swapped {
        RowNumber { ind: Some(value), index: None }
    } else {
        RowNumber { index: Some(value), ind: None }
    }
}

/// A UUID of version 4, variant 1.
fn draw_uuid(rng: &mut SeededRng) -> String {
    let high = rng.next_u64() & !0xf000 | 0x4000;
    let low = rng.next_u64() >> 2 | 0x8000_0000_0000_0000;
    let digits = format!("{high:016x}{low:016x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn draw_title(rng: &mut SeededRng, category: &str) -> String {
    let mut title = String::with_capacity(64);
    let text = &mut title;
    match rng.next_below(2000) {
        0 => return title,
        1..1200 => {
            push_words(text, &[rng.choose(ADJECTIVES), category, rng.choose(NOUNS), rng.choose(OCCASIONS)])
        }
        1200..1220 => {
            push_words(text, &[rng.choose(ADJECTIVES)]);
            text.push('\n');
            push_words(text, &[rng.choose(NOUNS)]);
        }
        _ => {
            text.push_str(&(3 + rng.next_below(97)).to_string());
            text.push(' ');
            push_words(text, &[rng.choose(ADJECTIVES), rng.choose(NOUNS), rng.choose(OCCASIONS)]);
        }
    }
    match rng.next_below(100) {
        0..8 => push_words(text, &["", rng.choose(PICTURES)]),
        8..12 => text.push(' '),
        12 => text.push('\n'),
        _ => {}
    }
    title
}

fn draw_description(rng: &mut SeededRng) -> String {
    let mut description = String::with_capacity(256);
    let text = &mut description;
    for sentence in 0..1 + rng.next_below(4) {
        if sentence > 0 {
            text.push(if rng.next_bool(0.03) { '\n' } else { ' ' });
        }
        text.push_str(rng.choose(SENTENCES));
    }
    match rng.next_below(10) {
        // The site marks shortened texts this way.
        0..4 => text.push_str("…\u{a0}"),
        4 => push_words(text, &["", rng.choose(PICTURES)]),
        _ => {}
    }
    description
}

/// The name and the follower count of a poster. Both come from the poster's own sequence: most posts of a poster show the
/// same count.
fn draw_poster(rng: &mut SeededRng, mut poster: SeededRng, varied: Option<u64>) -> (String, String) {
    let mut name = String::with_capacity(32);
    let text = &mut name;
    match poster.next_below(10) {
        0..5 => push_words(text, &[poster.choose(FIRST_NAMES), poster.choose(LAST_NAMES)]),
        5..7 => push_words(text, &["The", poster.choose(ADJECTIVES), poster.choose(NOUNS)]),
        7..9 => push_words(
            text,
            &[poster.choose(FIRST_NAMES), "&", poster.choose(FIRST_NAMES), "|", "Lifestyle Blog"],
        ),
        _ => push_words(text, &[poster.choose(FIRST_NAMES), poster.choose(PICTURES)]),
    }
    let scale = poster.next_below(100);
    let mut count = match scale {
        0..30 => poster.next_below(1000),
        30..96 => 1 + poster.next_skewed_below(999),
        _ => 1 + poster.next_skewed_below(15),
    };
    if rng.next_bool(0.1) {
        count += rng.next_below(2);
    }
    let mut followers = count.to_string();
    if varied == Some(2) {
        followers.push('.');
        followers.push_str(&(1 + rng.next_below(9)).to_string());
    }
    match scale {
        // Only thousands and millions have a fraction.
        0..30 if varied != Some(2) => {}
        0..96 => followers.push('k'),
        _ => followers.push('M'),
    }
    (name, followers)
}

fn draw_tags(rng: &mut SeededRng, category: &str) -> String {
    let mut tags = String::with_capacity(128);
    let text = &mut tags;
    for tag in 0..5 + rng.next_below(5) {
        if tag > 0 {
            text.push(',');
        }
        push_words(text, &[rng.choose(ADJECTIVES), if tag == 0 { category } else { rng.choose(NOUNS) }]);
    }
    tags
}

fn draw_picture(rng: &mut SeededRng, is_video: bool) -> String {
    let name = format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64());
    let (folder, suffix) =
        if is_video { ("videos/thumbnails/originals", ".0000001.jpg") } else { ("originals", ".jpg") };
    let [a, b, c] = [&name[0..2], &name[2..4], &name[4..6]];
    format!("https://i.pinimg.com/{folder}/{a}/{b}/{c}/{name}{suffix}")
}

fn push_words(text: &mut String, words: &[&str]) {
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            text.push(' ');
        }
        text.push_str(word);
    }
}

/// Formats a time as `2020-08-28 03:52:47`, or in rows of the variants 1 and 2 in another format that clients use.
fn draw_time_format(rng: &mut SeededRng, seconds: i64, varied: Option<u64>) -> TimeField {
    let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let format = match varied {
        Some(1) => "%Y-%m-%dT%H:%M:%S",
        Some(2) if rng.next_below(2) == 1 => {
            return TimeField::ExtendedJson { date: time.format("%Y-%m-%dT%H:%M:%SZ").to_string() };
        }
        Some(2) => "%m/%d/%Y, %H:%M:%S",
        _ => "%Y-%m-%d %H:%M:%S",
    };
    TimeField::Text(time.format(format).to_string())
}

/// Degrees from -limit to limit with at most six significant digits: `-75.3`, `9.96191`, `-174.0`.
fn draw_degrees(rng: &mut SeededRng, limit: u64) -> f64 {
    let millionths = rng.next_below(limit * 1_000_000);
    let step = match millionths {
        0..10_000_000 => 10,
        10_000_000..100_000_000 => 100,
        _ => 1_000,
    };
    // Exact: both are integers, so the quotient is the float nearest to the decimal number.
    let degrees = (millionths / step) as f64 / (1_000_000 / step) as f64;
    if rng.next_bool(0.5) && millionths >= step { -degrees } else { degrees }
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
                let condition = dataset.write_row(&mut out, &plan, number).unwrap();
                assert_eq!(out.iter().filter(|&&byte| byte == b'\n').count(), 1);
                (condition, serde_json::from_slice(&out).unwrap())
            })
            .collect()
    }

    fn fields(row: &Value) -> Vec<&str> {
        row.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn usual_pins_have_the_shape_of_the_client() {
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
        let assert_any = |field: &str, test: fn(&str) -> bool| {
            assert!(rows.iter().any(|(_, row)| test(row[field].as_str().unwrap())), "{field}");
        };
        assert_any("title", |text| text == "No Title Data Available");
        assert_any("title", |text| text.trim_end().contains('\n'));
        assert_any("title", |text| text.chars().any(|letter| letter > '\u{ffff}'));
        assert_any("description", |text| text.ends_with("…\u{a0}"));
        assert_any("description", |text| text == "Untitled");
        assert_any("tag_list", |text| text == "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e");
        assert_any("follower_count", |text| text.ends_with('k'));
        assert_any("follower_count", |text| text.ends_with('M'));
        assert_any("follower_count", |text| text.parse::<u64>().is_ok());
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
    fn dirty_rows_are_half_broken_and_half_varied() {
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
    fn only_broken_rows_are_quarantined() {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let plan = Plan { seed: 7, rows: 400, dirty: 0.5 };
        for dataset in Dataset::ALL {
            for number in 0..plan.rows {
                let mut out = Vec::new();
                let condition = dataset.write_row(&mut out, &plan, number).unwrap();
                let mut cleaner = RecordCleaner::new(Arc::clone(&catalog), DateTime::UNIX_EPOCH);
                let origin =
                    RecordOrigin { source: "file/generated", position: Position::Line(1), record_id: None };
                cleaner.push(out.trim_ascii_end(), Some(dataset.name()), &origin);
                let quarantined = cleaner.counts().any(|count| count.quarantined > 0);
                let row = String::from_utf8_lossy(&out);
                assert_eq!(quarantined, condition == Condition::Broken, "{dataset:?} {condition:?}: {row}");
            }
        }
    }

    #[test]
    fn duplicates_of_a_row_are_the_same_bytes() {
        let plan = Plan { seed: 7, rows: 100, dirty: 0.5 };
        for dataset in Dataset::ALL {
            let (mut first, mut again) = (Vec::new(), Vec::new());
            dataset.write_row(&mut first, &plan, 17).unwrap();
            dataset.write_row(&mut again, &plan, 17).unwrap();
            assert_eq!(first, again);
        }
    }

    #[test]
    fn degrees_have_six_digits_at_most() {
        let mut rng = SeededRng::new(3, 0, 0);
        for _ in 0..2000 {
            let text = format!("{:?}", draw_degrees(&mut rng, 180));
            assert!(text.bytes().filter(u8::is_ascii_digit).count() <= 6, "{text}");
        }
    }
}
