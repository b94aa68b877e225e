//! A token bucket in whole milliseconds and thousandths of a token, so that two engines refuse the same frame.

#[derive(Clone, Debug)]
pub struct Bucket {
    per_second: u64,
    level: u64,
    at: u64,
}

impl Bucket {
    /// Starts full. The burst is one second's worth.
    pub fn new(per_second: u64, now: u64) -> Self {
        Self { per_second, level: per_second * 1_000, at: now }
    }

    pub fn take(&mut self, now: u64) -> bool {
        self.fill(now);
        let has_one = self.level >= 1_000;
        if has_one {
            self.level -= 1_000;
        }
        has_one
    }

    /// True when nothing has been taken for a while: forgetting it changes nothing.
    pub fn is_full(&mut self, now: u64) -> bool {
        self.fill(now);
        self.level == self.per_second * 1_000
    }

    pub fn set_rate(&mut self, per_second: u64, now: u64) {
        self.fill(now);
        self.per_second = per_second;
        self.level = self.level.min(per_second * 1_000);
    }

    fn fill(&mut self, now: u64) {
        if now > self.at {
            self.level = (self.level + (now - self.at).saturating_mul(self.per_second)).min(self.per_second * 1_000);
            self.at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_gives_more_than_its_rate_and_one_seconds_burst() {
        let mut bucket = Bucket::new(50, 0);
        let mut taken = 0;
        for now in (0..=10_000).step_by(3) {
            while bucket.take(now) {
                taken += 1;
            }
        }
        assert_eq!(taken, 549);
    }

    #[test]
    fn is_not_moved_by_a_clock_that_goes_back() {
        let mut bucket = Bucket::new(1, 1_000);
        assert_eq!([1_000, 500, 1_999, 2_000].map(|now| bucket.take(now)), [true, false, false, true]);
    }
}
