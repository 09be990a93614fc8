// Looks at the page in a real browser: axe on every state, both widths, dark and light; no sideways scrolling; the
// keyboard alone; screenshots. Driven by page.rs, which says where everything is:
//   node page.mjs MODULES CHROMIUM OUT all|some STATE=URL …
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const [modules, executablePath, out, looks, ...states] = process.argv.slice(2);
const load = createRequire(join(modules, "package.json"));
const { chromium } = load("playwright-core");
const axe = readFileSync(load.resolve("axe-core/axe.min.js"), "utf8");
const urls = Object.fromEntries(states.map((state) => state.split(/=(.*)/s)));
const wrong = [];
let looked = 0;
const began = Date.now();
const elapsed = () => `${Math.round((Date.now() - began) / 1000)} s`;

const browser = await chromium.launch({
  executablePath,
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run", "--disable-dev-shm-usage", "--hide-scrollbars"],
});

// A page that notes every request elsewhere and everything the browser complains about.
async function open(url, width, scheme, more = {}) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme, ...more });
  const page = await context.newPage();
  page.on("request", (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) wrong.push(`${url} asks elsewhere: ${request.url()}`);
  });
  page.on("console", (message) => {
    if (!/favicon/.test(message.location().url)) wrong.push(`${url} console: ${message.text()}`);
  });
  page.on("dialog", (dialog) => { wrong.push(`${url}: something ran: ${dialog.message()}`); dialog.dismiss(); });
  await page.goto(url);
  return { context, page };
}

async function judge(page, name) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  for (const { id, help, nodes } of found.violations) {
    wrong.push(`${name}: axe ${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160)).join(" | ")}`);
  }
  const sideways = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  if (sideways > 0) wrong.push(`${name}: scrolls sideways by ${sideways} px`);
  const clipped = await page.evaluate(() => [...document.querySelectorAll("body *")].filter((element) => {
    const box = element.getBoundingClientRect();
    const shown = box.width > 1 && box.height > 1 && !element.closest(".unseen");
    return shown && (box.right > document.documentElement.clientWidth + 1 || box.left < -1);
  }).slice(0, 3).map((element) => element.outerHTML.slice(0, 120)));
  for (const html of clipped) wrong.push(`${name}: reaches out of the page: ${html}`);
  looked += 1;
}

const variants = [[400, "light"], [1400, "dark"], [400, "dark"], [1400, "light"]];
for (const [state, url] of Object.entries(urls)) {
  for (const [width, scheme] of variants.slice(0, looks === "all" ? 4 : 2)) {
    const { context, page } = await open(`${url}?still`, width, scheme);
    const name = `${state}-${width}-${scheme}`;
    await judge(page, name);
    await page.screenshot({ path: join(out, `${name}.png`), fullPage: state !== "many" });
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
    await judge(page, `${name}, unfolded`);
    await context.close();
  }
  console.log(`${state}: looked at after ${elapsed()}`);
}

// A page with flaws must not pass, or all of the above says nothing.
{
  const { context, page } = await open(urls.quiet, 400, "light");
  const before = wrong.length;
  await page.evaluate(() => {
    document.documentElement.removeAttribute("lang");
    document.querySelector("select").id = "nobody";
    document.querySelector("footer").appendChild(document.createElement("pre")).textContent = "x".repeat(500);
    document.querySelector("pre").style.setProperty("overflow-wrap", "normal");
  });
  await judge(page, "flawed");
  const caught = wrong.splice(before).join();
  for (const flaw of ["html-has-lang", "select-name", "sideways"]) {
    if (!caught.includes(flaw)) wrong.push(`a page with a flaw passes: ${flaw} is not found`);
  }
  await context.close();
}

// The keyboard alone, and no scripts: every control is reached, each shows that it is, and an install goes through.
{
  const { context, page } = await open(urls.available, 1400, "light", { javaScriptEnabled: false });
  const expected = await page.locator("a, button, summary, select, input:not([type=hidden])")
    .evaluateAll((all) => all.filter((one) => one.checkVisibility()).length);
  const reached = new Set();
  let install = 0;
  for (let i = 1; i <= expected + 20; i += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const on = document.activeElement;
      if (!on || on === document.body) return null;
      const all = [...document.querySelectorAll("a, button, summary, select, input")];
      const style = getComputedStyle(on);
      return { place: all.indexOf(on), text: on.textContent, ring: style.outlineStyle !== "none" && on.matches(":focus-visible") };
    });
    if (!at) break;
    reached.add(at.place);
    if (!at.ring) wrong.push(`keyboard: no focus to be seen on ${at.text}`);
    if (!install && at.text.startsWith("Install now")) install = i;
  }
  if (reached.size !== expected) wrong.push(`keyboard: ${reached.size} of ${expected} controls are reached`);
  await page.goto(urls.available);
  for (let i = 0; i < install; i += 1) await page.keyboard.press("Tab");
  await Promise.all([page.waitForURL(/said=/), page.keyboard.press("Enter")]);
  const said = await page.locator(".answer[role=status]").textContent();
  if (!said.includes("is being installed")) wrong.push(`keyboard: after Install now the page says ${said}`);
  await page.screenshot({ path: join(out, "installing-1400-light.png"), fullPage: true });
  // The page follows by itself until the install has ended.
  await page.waitForFunction(() => !document.querySelector("progress"), null, { timeout: 60000 })
    .catch(() => wrong.push("the page did not follow the install to its end"));
  const now = await page.locator("#installed h3").first().textContent();
  if (!now.includes("26.3.1 (c)")) wrong.push(`after the install, installed is ${now}`);
  await page.screenshot({ path: join(out, "installed-1400-light.png"), fullPage: true });
  await context.close();
  console.log(`keyboard: ${reached.size} of ${expected} controls reached, an install went through without scripts`);
}

// Every other form, by the pointer.
{
  const { context, page } = await open(urls.trial, 400, "dark", { javaScriptEnabled: false });
  const press = async (name, says) => {
    await Promise.all([page.waitForURL(/said=/), page.getByRole("button", { name }).first().click()]);
    const said = await page.locator(".answer").textContent();
    if (!says.test(said)) wrong.push(`after ${name} the page says ${said}`);
    await page.goto(urls.trial);
  };
  await press("Restart now", /restarted/);
  await press("Check now", /Nothing new/);
  await press("Turn off", /automatic-install is off/);
  await press("Turn on", /automatic-install is on/);
  await page.getByText("Remove…").first().click();
  await press(/^Remove webkit/, /base is in use/);
  await page.getByLabel("Restart", { exact: true }).selectOption("ask");
  await press("Save Restart", /restart is ask/);
  await context.close();
}

await browser.close();
for (const line of wrong) console.log(`WRONG ${line}`);
console.log(`${looked} looks by axe ${/axe v([\d.]+)/.exec(axe)?.[1] ?? ""}, ${wrong.length} things wrong, ${elapsed()}`);
process.exit(wrong.length ? 1 : 0);
