// Looks at the live page as a person would: do the figures move, does an alert appear, can everybody use it?
//
// Started by weir/tests/it/page.rs, which serves the page and does what a line of stdout asks for:
//   fire     publish a reading that a rule fires on
//   refuse   publish a message that is refused
//   stop     stop weir
//
// WEIR_PAGE: address of the page. WEIR_IMAGES: folder for screenshots. WEIR_CHROMIUM: the browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

const address = process.env.WEIR_PAGE;
const images = process.env.WEIR_IMAGES;
const executablePath = process.env.WEIR_CHROMIUM ?? "/usr/bin/chromium";
assert.ok(address && images, "WEIR_PAGE and WEIR_IMAGES are set");

/** Milliseconds that anything may take: more than the two minutes until a whole minute has gone by. */
const PATIENCE = 150_000;
const DESKTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
/** The narrowest screen that the page is made for. */
const NARROWEST = { width: 360, height: 740 };

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath,
  headless: true,
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
  ],
});

try {
  const page = await browser.newPage({ viewport: DESKTOP, colorScheme: "light" });
  page.setDefaultTimeout(PATIENCE);
  const complaints = watch(page);
  const answer = await page.goto(address);
  assert.match(answer.headers()["content-security-policy"], /default-src 'none'/);

  await moves(page);
  await keyboard(page);
  await alerts(page);
  await refusals(page);
  await fleet(page);
  await streamsEndAndComeBack(page);
  assert.deepEqual(await page.locator("h1, h2").allInnerTexts().then((all) => all.length > 8), true);

  const findings = [];
  for (const [scheme, size, name] of [
    ["light", DESKTOP, "live-page"], ["dark", DESKTOP, "live-page-dark"],
    ["light", PHONE, "live-page-narrow"], ["dark", NARROWEST, undefined],
  ]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize(size);
    await nextSnapshot(page);
    await nextSnapshot(page);
    await fits(page, size);
    findings.push(...(await check(page, `${scheme}, ${size.width}`)));
    if (name) await picture(page, size, join(images, `${name}.png`));
  }
  await byTheSwitch(page, findings);
  assert.deepEqual(complaints, [], "the console is quiet");
  console.log(`findings ${JSON.stringify(findings)}`);
  const grave = findings.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert.deepEqual(grave, [], "no serious finding");

  console.log("stop");
  await page.locator("#live-text", { hasText: "Not live" }).waitFor();
  await page.locator("#notice", { hasText: "trying again" }).waitFor();
  console.log("seen all");
} finally {
  await browser.close();
}

/** Everything that the browser complains of. */
function watch(page) {
  const complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`exception: ${error.stack ?? error}`));
  page.on("requestfailed", (request) => complaints.push(`failed: ${request.url()} ${request.failure()?.errorText}`));
  page.on("response", (response) => {
    if (response.status() >= 400) complaints.push(`${response.status()}: ${response.url()}`);
    if (!response.url().startsWith(address)) complaints.push(`from elsewhere: ${response.url()}`);
  });
  return complaints;
}

/** The figures of the way, and those of the verdict, change. */
async function moves(page) {
  await page.locator("#ready-text", { hasText: "Ready" }).waitFor();
  await page.locator("#live-text", { hasText: "Live" }).waitFor();
  const rows = page.locator("#tables tr", { hasText: "readings" }).locator("td").first();
  const number = async (locator) => Number((await locator.innerText()).replaceAll(",", ""));
  const changes = async (what, read) => {
    const before = await read();
    for (let tries = 0; tries < 60; tries++) {
      await nextSnapshot(page);
      if ((await read()) > before) return;
    }
    assert.fail(`${what} stays at ${before}`);
  };
  await changes("the table of readings", () => number(rows));
  await page.locator("#hops tr", { hasText: "Door" }).locator("td", { hasText: /[1-9][0-9,.K]*\/s readings/ }).waitFor({ state: "attached" });
  await page.locator("#verdict .headline", { hasText: "accounted for" }).waitFor();
  await changes("what was received", () => number(page.locator("#sum .received dd")));
  assert.ok((await page.locator(".way .flow:not([data-speed=none])").count()) >= 4, "something flows in the picture");
  assert.equal(await page.locator("#flow canvas, #lag canvas").count(), 2);
}

/** All that can be used can be used without a mouse, and shows where one is. */
async function keyboard(page) {
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.id), "theme");
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, "solid");
  for (const theme of ["light", "dark", undefined]) {
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), theme);
  }
}

/** An alert appears after it fires, and is said to those who listen. */
async function alerts(page) {
  const alert = page.locator("#alerts .alert", { hasText: "burst" });
  assert.equal(await alert.count(), 0, "it has not fired yet");
  console.log("fire");
  await alert.waitFor();
  const text = await alert.innerText();
  for (const part of ["critical", "pump-7", "hall-a", "<b>7.5</b> bar"]) assert.ok(text.includes(part), `${part}: ${text}`);
  assert.equal(await alert.locator("b").count(), 0, "text of a device is text");
  await page.locator("#alerts-said", { hasText: "new alert" }).waitFor({ state: "attached" });
  await page.locator("#runs .tile.done dd", { hasText: /^[1-9]/ }).waitFor();
  await page.locator("#breakers .badge.open", { hasText: "open" }).waitFor();
}

async function refusals(page) {
  console.log("refuse");
  await page.locator("#letters .reason", { hasText: "undecodable" }).waitFor();
}

/** Each metric of each site has a card with the values of a minute, and can be found. */
async function fleet(page) {
  const temperature = page.locator("#fleet .reading", { hasText: "temperature" });
  await temperature.first().locator(".mean", { hasText: /^[0-9]/ }).waitFor();
  assert.ok((await temperature.locator("canvas").count()) >= 3, "a sparkline for each site");
  await page.locator("#fleet-filter").fill("burst");
  await temperature.first().waitFor({ state: "detached" });
  assert.equal(await page.locator("#fleet .reading").count(), 1);
  await page.locator("#fleet-filter").fill("");
  await page.locator("#fleet-filter").blur();
  await temperature.first().waitFor();
}

/** The server ends each stream before its connection is too old; the page goes on by itself, without complaint. */
async function streamsEndAndComeBack(page) {
  await page.waitForResponse((response) => response.url().endsWith("/events"));
  await nextSnapshot(page);
  await page.locator("#live-text", { hasText: "Live" }).waitFor();
}

async function nextSnapshot(page) {
  const cell = page.locator("#about");
  const [before, chart] = await Promise.all([cell.innerText(), page.locator("#flow").getAttribute("aria-label")]);
  await page.waitForFunction(
    ([about, label]) =>
      document.getElementById("about").textContent !== about || document.getElementById("flow").getAttribute("aria-label") !== label,
    [before, chart],
  );
}

/** Nothing is wider than the screen. */
async function fits(page, { width }) {
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= width, `the page is ${wide} wide on a screen of ${width}`);
}

/** The whole page where it is wide, its first screens on a telephone. */
async function picture(page, { width }, path) {
  const height = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.screenshot({ path, fullPage: true, clip: { x: 0, y: 0, width, height: width === PHONE.width ? 1800 : height } });
}

/** What axe finds. */
async function check(page, where) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document));
  return violations.map(({ id, impact, help, nodes }) => ({ where, id, impact, help, nodes: nodes.map((node) => node.html).slice(0, 3) }));
}

/** A theme that was chosen wins over the system's. */
async function byTheSwitch(page, findings) {
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(DESKTOP);
  await page.locator("#theme").click();
  await page.locator("#theme").click();
  assert.equal(await page.evaluate(() => getComputedStyle(document.body).backgroundColor), "rgb(12, 19, 24)");
  findings.push(...(await check(page, "dark by the switch")));
}
