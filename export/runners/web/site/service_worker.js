// Keeps the page's own files for visits without a network. What belongs to a package, package.js keeps.
importScripts("./shell.js"); // by build.mjs: SHELL = {version, files}

const PREFIX = `kpodx-page ${registration.scope} `;
const NAME = PREFIX + SHELL.version;
const own = new Set(SHELL.files.map((file) => new URL(file, registration.scope).href));

addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(NAME).then((cache) => cache.addAll([...own].map((address) => new Request(address, { cache: "no-cache" })))),
  );
});

addEventListener("activate", (event) => {
  const forget = async () => {
    for (const name of await caches.keys()) if (name.startsWith(PREFIX) && name !== NAME) await caches.delete(name);
    await clients.claim();
  };
  event.waitUntil(forget());
});

addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  address.search = address.hash = "";
  if (event.request.method !== "GET" || !own.has(address.href)) return;
  const answer = async () => (await (await caches.open(NAME)).match(address.href)) ?? fetch(event.request);
  event.respondWith(answer());
});
