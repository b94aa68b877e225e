//! Operations, timed one after the other.

use std::time::{Duration, Instant};

const BATCHES: usize = 15;
const BATCH: Duration = Duration::from_millis(40);

#[derive(Default)]
pub struct Operations {
    rows: Vec<String>,
}

impl Operations {
    /// The median of some batches, each long enough for the clock.
    pub fn add(&mut self, group: &str, name: &str, mut run: impl FnMut()) {
        let count = calibrate(&mut run);
        let mut times: Vec<f64> = (0..BATCHES).map(|_| time(&mut run, count)).collect();
        times.sort_by(f64::total_cmp);
        let us = times[BATCHES / 2];
        self.rows.push(format!(r#"{{"group":"{group}","name":"{name}","us":{us:.5}}}"#));
    }

    pub fn print(&self) {
        println!("[{}]", self.rows.join(",\n"));
    }
}

/// How often fits a batch.
fn calibrate(run: &mut impl FnMut()) -> u32 {
    let mut count = 1;
    loop {
        let us = time(run, count) * f64::from(count);
        if us * 4.0 > BATCH.as_micros() as f64 || count > u32::MAX / 4 {
            return count * 4;
        }
        count *= 2;
    }
}

/// Microseconds per run.
fn time(run: &mut impl FnMut(), count: u32) -> f64 {
    let start = Instant::now();
    for _ in 0..count {
        run();
    }
    start.elapsed().as_secs_f64() * 1e6 / f64::from(count)
}
