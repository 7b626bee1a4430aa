//! Plain DataFusion on plain Parquet, as the yardstick of the benches: registers one table per
//! `name=file,file,…` argument, then answers each line of standard input (a file with a query) with
//! `milliseconds rows`. The same allocator, profile and parallelism as Auric.

use std::error::Error;
use std::io::BufRead;
use std::time::Instant;

use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = SessionConfig::new().with_information_schema(false);
    let context = SessionContext::new_with_config(config);
    for argument in std::env::args().skip(1) {
        let (name, files) = argument.split_once('=').ok_or("expected name=file,file,…")?;
        let files: Vec<&str> = files.split(',').collect();
        let frame = context.read_parquet(files, ParquetReadOptions::default()).await?;
        context.register_table(name, frame.into_view())?;
    }
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let query = std::fs::read_to_string(line?.trim())?;
        let start = Instant::now();
        let batches = context.sql(&query).await?.collect().await?;
        let rows: usize = batches.iter().map(|batch| batch.num_rows()).sum();
        println!("{:.3} {rows}", start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(())
}
