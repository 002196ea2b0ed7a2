// What is seen: the question, the model's state, and answers as they come. All text of a package or model goes in as text.
import { Problem } from "./problem.js";
import { Reasoner } from "./reasoner.js";
import { finalAnswer, stepTexts } from "./steps.js";

const EXAMPLE = "Leo has 14 coins. Leo throws away 2 coins. After a week Leo has three times as much. How many coins does Leo have now?";
const OFFLINE = {
  kept: "Kept on this device: it answers without a network from now on.",
  unkept: "Not kept on this device: the browser gives this page no room.",
  insecure: "Kept only while this page is open: a browser keeps pages that come over HTTPS, or from this computer itself.",
};

const at = (id) => document.getElementById(id);
const [form, question, select, progress] = ["form", "question", "model", "progress"].map(at);
const parameters = new URLSearchParams(location.search);
let reasoner = null;
const pageKept = keepPage();
let isAsking = false;
let loading = null;

start();

async function start() {
  at("example").onclick = () => {
    question.value = EXAMPLE;
    question.focus();
  };
  question.onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!isAsking) form.requestSubmit();
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    askQuestion();
  };
  at("stop").onclick = () => reasoner.stop();
  select.onchange = () => load();
  try {
    say("Looking at the package …");
    reasoner = new Reasoner(parameters.get("package") ?? "./package/");
    showPackage(await reasoner.open());
  } catch (problem) {
    complain(problem);
    return;
  }
  // Who saves data asks first: then the model is loaded with the first question.
  if (navigator.connection?.saveData) say(`Ready: the model is loaded with the first question (${select.selectedOptions[0].textContent}).`);
  else await load();
}

function showPackage({ name, models }) {
  for (const model of models) select.append(new Option(`${model.quantization}, ${inMegabytes(model.bytes)}`, model.name));
  const wanted = models.find((model) => [model.name, model.quantization].includes(parameters.get("model")));
  if (wanted) select.value = wanted.name;
  else if (parameters.has("model")) {
    const known = models.map((model) => model.quantization).join(", ");
    throw new Problem(`There is no model ${parameters.get("model")} in this package; it has ${known}.`);
  }
  document.title = `${name}: ask a small reasoner`;
  at("about").textContent = `The package is ${name}. Answers can be wrong: read the steps.`;
  select.disabled = false;
  at("ask").disabled = false;
}

/** Load the chosen model; whether it is there. Who calls while it loads waits for the same. */
function load() {
  if (reasoner.has(select.value)) return Promise.resolve(true);
  loading ??= loadNow().finally(() => {
    loading = null;
    showButtons();
  });
  showButtons();
  return loading;
}

async function loadNow() {
  complain(null);
  at("offline").textContent = "";
  try {
    const begun = performance.now();
    const { isKept } = await reasoner.load(select.value, showProgress);
    say(`Ready after ${((performance.now() - begun) / 1000).toFixed(1)} s.`);
    showOffline(isKept);
    return true;
  } catch (problem) {
    say("");
    complain(problem);
    return false;
  } finally {
    progress.hidden = true;
  }
}

/** Say whether the next visit needs a network. */
async function showOffline(isKept) {
  const both = isKept && (await pageKept);
  at("offline").textContent = OFFLINE[!globalThis.isSecureContext ? "insecure" : both ? "kept" : "unkept"];
}

function showProgress({ loaded, total, file }) {
  progress.hidden = false;
  progress.value = loaded / total;
  const name = file.split("/").at(-1);
  say(loaded < total ? `Loading ${name}: ${inMegabytes(loaded)} of ${inMegabytes(total)}` : "Loaded. The model is being made ready …");
}

async function askQuestion() {
  const text = question.value.trim();
  if (!text) {
    complain(new Error("Write a question first."));
    question.focus();
    return;
  }
  isAsking = true;
  showButtons();
  complain(null);
  let answer = null;
  try {
    if (!(await load())) return;
    answer = new Answer(text);
    answer.finish(await reasoner.ask(text, (output) => answer.show(output)));
  } catch (problem) {
    answer.giveUp();
    complain(problem);
  } finally {
    isAsking = false;
    showButtons();
  }
}

/** One question and its steps. */
class Answer {
  constructor(text) {
    this.article = make("article", at("answers"), "", "is-coming");
    at("answers").prepend(this.article);
    this.article.setAttribute("aria-busy", "true");
    make("h2", this.article, text);
    this.list = make("ol", this.article, "", "steps");
    this.spoken = 0;
    at("spoken").textContent = "Thinking …";
    // On a phone the answer is what the screen is for; without focus its keyboard goes away.
    if (!matchMedia("(max-width: 30rem)").matches) return;
    question.blur();
    this.article.scrollIntoView();
  }

  /** The text so far, a line for each step. */
  show(output) {
    const steps = stepTexts(output).map((step) => step.trim());
    steps.forEach((step, i) => {
      const line = this.list.children[i] ?? make("li", this.list, "");
      if (line.textContent !== step) line.textContent = step;
      line.classList.toggle("is-answer", finalAnswer(step) !== null);
    });
    while (this.list.children.length > steps.length) this.list.lastChild.remove();
    // Whole steps are read out, and each once.
    if (steps.length - 1 > this.spoken) at("spoken").textContent = steps.slice(this.spoken, (this.spoken = steps.length - 1)).join(" ");
  }

  finish(record) {
    this.show(record.output);
    this.#end();
    const said = finalAnswer(record.output);
    if (said !== null && !record.is_stopped) {
      const line = make("p", this.article, "", "answer");
      make("span", line, "Answer");
      make("strong", line, said);
    }
    if (!record.tokens.length) make("p", this.article, "The model says nothing to this.");
    const rate = `${record.tokens_per_second.toFixed(1)} tokens/s`;
    const parts = [`${record.tokens.length} tokens`, rate, `first token after ${record.first_token_seconds.toFixed(2)} s`];
    make("p", this.article, [record.is_stopped ? "stopped" : "", ...parts].filter(Boolean).join(" · "), "figures");
    this.article.dataset.tokens = record.tokens.join(" ");
    const rest = record.output && stepTexts(record.output).slice(this.spoken).join(" ");
    at("spoken").textContent = record.is_stopped ? "Stopped." : rest;
  }

  giveUp() {
    this.#end();
    make("p", this.article, "No answer.", "figures");
    at("spoken").textContent = "";
  }

  #end() {
    this.article.classList.remove("is-coming");
    this.article.removeAttribute("aria-busy");
  }
}

function make(tag, parent, text, name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (name) element.className = name;
  parent.append(element);
  return element;
}

/** One button for each thing that can be done now; the focus goes from one that is hidden to the other. */
function showButtons() {
  const isBusy = isAsking || loading !== null;
  const focused = document.activeElement;
  at("ask").hidden = isAsking;
  at("stop").hidden = !isBusy;
  select.disabled = isBusy;
  if (focused === at("ask") && isAsking) at("stop").focus();
  if (focused === at("stop") && !isBusy) at("ask").focus();
}

function say(text) {
  at("status").textContent = text;
}

function complain(problem) {
  at("problem").hidden = problem === null;
  at("problem").textContent = problem?.message ?? "";
}

function inMegabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

/** Let a service worker keep the page's own files for visits without a network; whether it does. */
async function keepPage() {
  try {
    await navigator.serviceWorker.register("service_worker.js");
    return Boolean(await navigator.serviceWorker.ready);
  } catch {
    // Over plain HTTP, and in some private windows, browsers have none.
    return false;
  }
}
