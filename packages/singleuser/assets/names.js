/** The path of a name in a folder. Throws for a name that would be another place. */
export function childOf(folder, name) {
  if (name.includes('/') || name === '.' || name === '..') {
    throw new Error('A name cannot hold a slash, nor be "." or "..".')
  }
  return folder === '' ? name : `${folder}/${name}`
}

export function sizeText(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1)
  const value = bytes / 1000 ** power
  return `${value >= 100 || power === 0 ? Math.round(value) : value.toFixed(1)} ${units[power]}`
}
