//! One network on this host, as its one writer knows it: parameters, members, tables, and everything rare.

use std::sync::Arc;

use crate::bucket::Bucket;
use crate::command::SegmentConfig;
use crate::hold::Hold;
use crate::ids::{Mac, Vni};
use crate::limits::FRAME_BYTES_SEALED;
use crate::neighbour::Neighbours;
use crate::peer::Counters;
use crate::reports::Reports;
use crate::snapshot::{Members, SegmentView};
use crate::stats::SegmentStats;
use crate::table::{Owner, Table};
use crate::wire::ETHERNET_BYTES;

/// Two VLAN tags do not count towards an MTU.
const VLAN_TAGS_BYTES: usize = 8;

#[derive(Debug)]
pub struct Segment {
    pub vni: Vni,
    pub config: SegmentConfig,
    pub opened_at: u64,
    pub table: Table,
    pub neighbours: Neighbours,
    pub hold: Hold,
    pub bum: Bucket,
    /// One report of each kind per MAC and second.
    pub learned: Reports,
    pub conflicts: Reports,
    pub spoofs: Reports,
    pub loops: Reports,
    /// Ascending host ids.
    pub flood: Arc<[u16]>,
    pub members: Members,
    pub is_blocked: bool,
    /// `macs.full` has been reported and not yet ceased.
    pub is_full: bool,
    pub probe_at: Option<u64>,
    pub sweep_at: Option<u64>,
    pub traffic: Arc<Counters>,
}

impl Segment {
    pub fn new(config: SegmentConfig, bum_per_segment: u64, shares: usize, now: u64) -> Self {
        Self {
            vni: config.vni,
            config,
            opened_at: now,
            table: Table::default(),
            neighbours: Neighbours::default(),
            hold: Hold::default(),
            bum: Bucket::new(bum_per_segment, now),
            learned: Reports::default(),
            conflicts: Reports::default(),
            spoofs: Reports::default(),
            loops: Reports::default(),
            flood: Arc::new([]),
            members: Members::default(),
            is_blocked: false,
            is_full: false,
            probe_at: None,
            sweep_at: None,
            traffic: Arc::new(Counters::new(shares)),
        }
    }

    pub fn frame_bytes_max(&self) -> usize {
        (self.config.tap_mtu as usize + ETHERNET_BYTES + VLAN_TAGS_BYTES).min(FRAME_BYTES_SEALED)
    }

    pub fn is_behind_tunnel(&self, mac: Mac) -> bool {
        self.table.get(mac).is_some_and(|found| found.owner != Owner::Local)
    }

    pub fn view(&self) -> SegmentView {
        SegmentView {
            vni: self.vni,
            mtu: self.config.mtu,
            frame_bytes_max: self.frame_bytes_max(),
            is_blocked: self.is_blocked,
            slots: Arc::clone(self.table.slots()),
            members: self.members.clone(),
            traffic: Arc::clone(&self.traffic),
        }
    }

    pub fn stats(&self) -> SegmentStats {
        SegmentStats {
            vni: self.vni,
            traffic: self.traffic.sum(),
            local_macs: self.table.local(),
            remote_macs: self.table.remote(),
            blocked: self.is_blocked,
        }
    }
}
