/** What a container on some overlay networks may ask for. */

import { describe, expect, test } from "vitest";
import { type Membership, Names } from "../../../src/docker/dns/names.ts";

const blue: Membership = { network: "blue", suffixes: ["blue", "my-network"] };
const red: Membership = { network: "red", suffixes: ["red"] };

function filled(): Names {
  const names = new Names();
  names.set("blue", [
    { name: "web", ips: ["10.77.0.2"] },
    { name: "Web", ips: ["10.77.1.2", "10.77.0.2"] },
    { name: "db", ips: ["10.77.0.3", "FD00:77::3"] },
    { name: "db.example.org", ips: ["10.77.0.9"] },
  ]);
  names.set("red", [{ name: "web", ips: ["10.78.0.2"] }]);
  return names;
}

describe("addresses of a name", () => {
  test("are those of all hosts, once each, in any case of letters", () => {
    expect(filled().addresses([blue], "WEB")).toEqual(["10.77.0.2", "10.77.1.2"]);
  });

  test("are found under the network's names too, and under no other", () => {
    const names = filled();
    expect(names.addresses([blue], "web.my-network")).toEqual(["10.77.0.2", "10.77.1.2"]);
    expect(names.addresses([blue], "web.Blue")).toEqual(["10.77.0.2", "10.77.1.2"]);
    expect(names.addresses([blue], "web.red")).toBeUndefined();
    expect(names.addresses([blue], "blue")).toBeUndefined();
    expect(names.addresses([blue], ".blue")).toBeUndefined();
    expect(names.addresses([blue], "")).toBeUndefined();
  });

  test("are those of the container's networks only", () => {
    const names = filled();
    expect(names.addresses([red], "web")).toEqual(["10.78.0.2"]);
    expect(names.addresses([red], "db")).toBeUndefined();
    expect(names.addresses([blue, red], "web")).toEqual(["10.77.0.2", "10.77.1.2", "10.78.0.2"]);
    expect(names.addresses([blue, red], "web.red")).toEqual(["10.78.0.2"]);
    expect(names.addresses([], "web")).toBeUndefined();
  });

  test("are canonical, and names may have dots", () => {
    expect(filled().addresses([blue], "db")).toEqual(["10.77.0.3", "fd00:77::3"]);
    expect(filled().addresses([blue], "db.example.org")).toEqual(["10.77.0.9"]);
  });

  test("change as a whole with each list", () => {
    const names = filled();
    names.set("blue", [{ name: "db", ips: ["10.77.0.4"] }]);
    expect(names.addresses([blue], "web")).toBeUndefined();
    expect(names.addresses([blue], "db")).toEqual(["10.77.0.4"]);
    names.set("blue", []);
    expect(names.addresses([blue], "db")).toBeUndefined();
    names.retain(new Set(["blue"]));
    expect(names.addresses([red], "web")).toBeUndefined();
  });

  test("that are none are left out, and more than a name may have", () => {
    const names = new Names();
    const many = Array.from({ length: 2000 }, (_, index) => `10.77.${index >> 8}.${index & 255}`);
    names.set("blue", [{ name: "web", ips: ["x", "10.77.0.300", ...many] }]);
    expect(names.addresses([blue], "web")).toEqual(many.slice(0, 1024));
  });
});

test("an address has the first name it was given, with the network's behind it as Docker calls it", () => {
  const names = filled();
  expect(names.nameOf([blue], "10.77.0.2")).toBe("web.blue");
  expect(names.nameOf([{ network: "blue", suffixes: ["my-network", "blue"] }], "10.77.0.3")).toBe("db.my-network");
  expect(names.nameOf([blue], "fd00:0077:0:0:0:0:0:3")).toBe("db.blue");
  names.set("red", [
    { name: "4ade8eb74491", ips: ["10.78.0.4"] },
    { name: "shop", ips: ["10.78.0.4"] },
    { name: "alias", ips: ["10.78.0.4"] },
  ]);
  expect(names.nameOf([red], "10.78.0.4")).toBe("shop.red");
  expect(names.nameOf([red], "10.77.0.2")).toBeUndefined();
  expect(names.nameOf([red, blue], "10.78.0.9")).toBeUndefined();
});
