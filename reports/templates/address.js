"use strict";
// What a reader makes of the page is kept in its address, so that it can be linked to, reloaded and gone back to:
// #PLACE&sort=TABLE.COLUMN.DIRECTION,…&arms=0,3 with any part left out. The links on the page are places alone: they
// leave all else as it is, and the address is completed with it.
const address = (() => {
  const shows = new Map(); // part → function that shows a value of it, as far as it can be, and returns what it shows
  const state = new Map(); // part → value; the empty value is the page as it was written

  const write = (place) => {
    const parts = [...state].filter(([, value]) => value).map(([part, value]) => `${part}=${value}`);
    const hash = (place ? [place, ...parts] : parts).join("&");
    // An entry of the history that has a state of its own was here before: its address says all.
    history.replaceState(true, "", location.href.split("#")[0] + (hash && `#${hash}`));
  };

  const show = (values) => {
    for (const [part, shown] of shows) state.set(part, shown(values(part)));
  };

  const arrive = (event) => {
    const isNew = history.state === null;
    const found = new URLSearchParams(location.hash.slice(1));
    const says = [...shows.keys()].some((part) => found.has(part));
    if (!event || !isNew || says) show((part) => found.get(part) ?? "");
    const place = [...found.keys()].find((key) => !shows.has(key)) ?? "";
    const target = document.getElementById(place);
    if (target && target.hidden) show(() => "");
    open(target);
    if (target && isNew && says) target.scrollIntoView(); // no browser finds a place with other parts behind it
    write(place);
  };

  const open = (target) => {
    if (target instanceof HTMLDetailsElement) target.open = true;
  };

  // A link to where one already is changes no address.
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link) open(document.getElementById(link.hash.slice(1)));
  });

  return {
    keep(part, shown) { shows.set(part, shown); },
    set(part, value) { state.set(part, value); write(""); },
    follow() { addEventListener("hashchange", arrive); arrive(); },
  };
})();
