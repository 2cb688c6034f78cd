// This runs before the page is painted, so that it does not flash.
document.documentElement.dataset.theme = localStorage.getItem("cvfeeder-theme") ?? "system";
