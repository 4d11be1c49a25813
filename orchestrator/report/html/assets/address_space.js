"use strict";
lab.picture("address_space", (host, data, page) => {
  const list = lab.table(host, "Mappings", ["start", "end", "perms", "name"], []);
  page.onStep((step) => list.update(data.steps[step], `Mappings at ${page.steps[step].name}`));
});
