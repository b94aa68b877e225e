/** The portable switch is what the protocol says it is. */

import { Switch } from "../../src/engine/portable/switch.ts";
import { conformance } from "./conformance.ts";

conformance("portable", options => new Switch(options));
