// Keeps the view that was asked for, so that signing in leads back to it: main.js takes it up.
if (location.hash) sessionStorage.setItem("desk.return", location.hash);
document.getElementById("token")?.focus();
