/**
 * The proxy alone, beside configurable-http-proxy and nginx instead of beside another hub. It takes
 * minutes and two cores, so that it is measured only when it is asked for by name.
 */
export const proxy = {
  name: 'proxy',
  summary: 'the proxy alone beside CHP and nginx; only when named',
} as const
