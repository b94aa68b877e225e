/** Prints "PASSED FAILED" from a vitest JSON report; a missing report, or one without tests, counts as one failure. */

import { readFileSync } from "node:fs";

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numFailedTestSuites: number;
  readonly success: boolean;
}

function read(file: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Report;
  } catch {
    return undefined;
  }
}

const report = read(process.argv[2] ?? "");
const passed = report?.numPassedTests ?? 0;
const failed = report?.numFailedTests ?? 0;
const broken = report === undefined || passed + failed === 0 || (!report.success && failed === 0);
console.log(passed, failed + (broken ? 1 : 0));
