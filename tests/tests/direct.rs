#![allow(warnings, clippy::all)]
use std::{sync::Arc, fs::File, path::Path as P};
use pinlake_analytics::*; use pinlake_clean::*; use pinlake_schema::Catalog; use pinlake_lake::Lake; use pinlake_effects::Effects;
#[tokio::test]
async fn direct() {
    let spec = std::env::var("DIRECT").unwrap(); // lake|datasets or -|rows-pattern with {}|queries or -|out
    for job in spec.split(';') {
        let p: Vec<&str> = job.split('|').collect();
        std::fs::create_dir_all(p[0]).unwrap();
        let store = Arc::new(object_store::local::LocalFileSystem::new_with_prefix(p[0]).unwrap());
        let catalog = Arc::new(if p[1]=="-" { Catalog::embedded().unwrap() } else { Catalog::from_dir(P::new(p[1])).unwrap() });
        let lake = Lake::new(store.clone(), Effects::system());
        let mut intake = Intake::new(catalog.clone(), Effects::system().clock.now());
        for d in ["pin","geo","user"] {
            let f = p[2].replace("{}", d);
            let mut r = framing::Records::from_file(&f, File::open(&f).unwrap(), Default::default()).unwrap();
            while let Some(rec) = r.next().unwrap() {
                let o = Origin { source: "file/x", position: Position::Line(rec.position), record_id: None };
                match &rec.fault { None => intake.push(rec.bytes, Some(d), &o), Some(_) => { let b = rec.bytes.to_vec(); intake.reject(&b, Some(d), &o, Reason::MalformedJson, "x") } }
            }
        }
        for c in intake.counts() { println!("{c:?}"); }
        for c in intake.drain() { let i = lake.table(&c.contract).insert(&[c.rows]).await.unwrap(); println!("{} {i:?}", c.contract.name); }
        let mut tables = vec![];
        for c in catalog.contracts() { let t = lake.table(c).pin().await.unwrap(); tables.push(TableInput{name:t.dataset,version:t.version,schema:t.schema,files:t.files.into_iter().map(|f|(f.path,f.size)).collect()}); }
        let q = if p[3]=="-" { QuerySet::embedded().unwrap() } else { QuerySet::from_dir(P::new(p[3])).unwrap() };
        let res = run(store, tables, &q).await.unwrap();
        std::fs::write(p[4], res.to_json().to_string()).unwrap();
    }
}
