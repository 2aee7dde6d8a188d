/** The page globals of JupyterHub's own pages, for scripts of custom templates. */
;(() => {
  const { baseUrl, prefix, user, admin, xsrf } = document.body.dataset
  window.jhdata = {
    base_url: baseUrl,
    prefix,
    user,
    admin_access: admin === 'true',
    options_form: false,
    xsrf_token: xsrf,
  }
})()
