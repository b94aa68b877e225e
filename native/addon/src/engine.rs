//! The class `NativeEngine`.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock, Mutex};

use napi::bindgen_prelude::{Env, Function, Object, Uint8Array};
use napi::threadsafe_function::ThreadsafeFunctionCallMode::NonBlocking;
use napi::{Error, Result};
use napi_derive::napi;
use overlayd_engine::keys::KeyRegistry;
use overlayd_engine::runtime::{self, Engine, Listen, Options, lanes_by_default};
use overlayd_engine::sys::SysError;

use crate::convert;

/// Keys must not enter twice over all engines of this process.
static KEYS: LazyLock<Arc<Mutex<KeyRegistry>>> = LazyLock::new(Arc::default);

#[napi(object, object_to_js = false)]
pub struct ListenOn {
    pub address: Option<String>,
    pub port: u16,
}

#[napi(object, object_to_js = false)]
pub struct EngineOptions<'a> {
    pub listen: Vec<ListenOn>,
    pub lanes: Option<u32>,
    pub path_mtu: Option<u32>,
    /// Told in one line when something has failed inside.
    pub failed: Function<'a, String, ()>,
}

/// Contract: `Engine` in src/engine/engine.ts.
#[napi]
pub struct NativeEngine {
    engine: Engine,
}

#[napi]
impl NativeEngine {
    /// Binds at once. Throws "CALL failed: errno NUMBER" when a port is taken.
    #[napi(constructor)]
    pub fn new(options: EngineOptions<'_>) -> Result<Self> {
        let listen = options.listen.iter().map(listen_on).collect::<Result<_>>()?;
        // Weak: a report that may never come keeps no process alive.
        let failed = options.failed.build_threadsafe_function().weak::<true>().build()?;
        let options = Options {
            listen,
            lanes: options.lanes.map_or_else(lanes_by_default, |lanes| lanes as usize),
            path_mtu: options.path_mtu.unwrap_or(runtime::PATH_MTU),
            keys: Arc::clone(&KEYS),
            failed: Box::new(move |line| {
                failed.call(line.to_owned(), NonBlocking);
            }),
        };
        Ok(Self { engine: Engine::open(options).map_err(|error| thrown(&error))? })
    }

    #[napi(getter)]
    pub fn local_port(&self) -> u16 {
        self.engine.local_port()
    }

    #[napi(getter)]
    pub fn lanes(&self) -> u32 {
        self.engine.lanes() as u32
    }

    #[napi]
    pub fn apply(&self, commands: Vec<Object<'_>>) -> Result<()> {
        let commands = commands.iter().map(convert::command).collect::<Result<_>>()?;
        self.engine.apply(commands);
        Ok(())
    }

    #[napi]
    pub fn send_control(&self, to: String, body: Uint8Array) -> Result<()> {
        self.engine.send_control(convert::parsed(&to)?, &body);
        Ok(())
    }

    #[napi]
    pub fn send_handshake(&self, to: String, bytes: Uint8Array) -> Result<()> {
        self.engine.send_handshake(convert::parsed(&to)?, &bytes);
        Ok(())
    }

    #[napi]
    pub fn take_events<'a>(&self, env: &'a Env) -> Result<Vec<Object<'a>>> {
        self.engine.take_events().into_iter().map(|event| convert::event(env, event)).collect()
    }

    /// Keeps the process alive until `close`.
    #[napi]
    pub fn on_ready(&self, wake: Function<'_, (), ()>) -> Result<()> {
        let wake = wake.build_threadsafe_function().build()?;
        self.engine.on_ready(Box::new(move || {
            wake.call((), NonBlocking);
        }));
        Ok(())
    }

    #[napi]
    pub fn stats<'a>(&self, env: &'a Env) -> Result<Object<'a>> {
        let mut stats = convert::stats(env, &self.engine.stats())?;
        let refusals = self.engine.refusals();
        if !refusals.is_empty() {
            let refusals = refusals.iter().map(|refusal| convert::refusal(env, refusal)).collect::<Result<Vec<_>>>()?;
            stats.set("noRuns", refusals)?;
        }
        Ok(stats)
    }

    #[napi]
    pub fn close(&self) {
        self.engine.close();
    }
}

fn listen_on(listen: &ListenOn) -> Result<Listen> {
    let address = listen.address.as_deref().map(|text| {
        text.parse::<IpAddr>().map_err(|_| Error::from_reason(format!("\"{text}\" is no IP address to listen on")))
    });
    Ok(Listen { address: address.transpose()?, port: listen.port })
}

fn thrown(error: &SysError) -> Error {
    Error::from_reason(format!("{} failed: errno {}", error.call, error.errno))
}
