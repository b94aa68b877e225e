//! Keeps reports about one key apart by an interval, over a bounded number of keys.

use std::collections::{BTreeMap, HashMap};

use crate::limits::{REPORT_INTERVAL_MS, REPORTED_MACS};

#[derive(Debug, Default)]
pub struct Reports {
    last: HashMap<u64, (u64, u64)>,
    /// By number of report: the old ones come first.
    order: BTreeMap<u64, u64>,
    count: u64,
}

impl Reports {
    /// True when `key` was not reported within the interval; then it counts as reported now. A full memory reports
    /// nothing new.
    pub fn due(&mut self, key: u64, now: u64) -> bool {
        let last = self.last.get(&key).copied();
        match last {
            Some((at, _)) if now.saturating_sub(at) < REPORT_INTERVAL_MS => return false,
            None if self.last.len() >= REPORTED_MACS && !self.forget_old(now) => return false,
            _ => {}
        }
        if let Some((_, number)) = last {
            self.order.remove(&number);
        }
        self.count += 1;
        self.last.insert(key, (now, self.count));
        self.order.insert(self.count, key);
        true
    }

    fn forget_old(&mut self, now: u64) -> bool {
        while let Some(oldest) = self.order.first_entry() {
            let (at, _) = self.last[oldest.get()];
            if now.saturating_sub(at) < REPORT_INTERVAL_MS {
                break;
            }
            self.last.remove(&oldest.remove());
        }
        self.last.len() < REPORTED_MACS
    }
}
