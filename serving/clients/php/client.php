<?php
// Ask a uad server about one image. PHP 7.4 or later with its curl extension.
//
// Install:  apt-get install php-cli php-curl
// Run:      php client.php IMAGE OUTPUT.jpg [URL]
//
// If the server wants an API key, set it in the environment variable UAD_API_KEY.

declare(strict_types=1);

const DEFAULT_URL = 'http://localhost:8080/image-anomaly-detection';
const TIMEOUT_SECONDS = 60;

/** Send the bytes of an image file; return the `result` object of the answer. */
function ask(string $url, string $image): array
{
    $headers = ['Content-Type: application/json'];
    if (getenv('UAD_API_KEY')) {
        $headers[] = 'Authorization: Bearer ' . getenv('UAD_API_KEY');
    }
    $curl = curl_init($url);
    curl_setopt_array($curl, [
        CURLOPT_POSTFIELDS => json_encode(['image' => base64_encode($image)], JSON_UNESCAPED_SLASHES),
        CURLOPT_HTTPHEADER => $headers,
        CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => TIMEOUT_SECONDS,
    ]);
    $text = curl_exec($curl);
    if ($text === false) {
        throw new RuntimeException(curl_error($curl));
    }
    $answer = json_decode($text, true, 512, JSON_THROW_ON_ERROR);
    if ($answer['errorCode'] !== 0) {
        throw new RuntimeException("{$answer['errorCode']}: {$answer['errorMsg']}");
    }
    return $answer['result'];
}

function run(string $image, string $output, string $url): void
{
    $data = @file_get_contents($image);
    if ($data === false) {
        throw new RuntimeException("cannot read $image");
    }
    $result = ask($url, $data);
    if (@file_put_contents($output, base64_decode($result['image'])) === false) {
        throw new RuntimeException("cannot write $output");
    }
    [$height, $width] = $result['size'];
    // labelMap is row by row: the pixel in row y and column x is labelMap[y * width + x].
    $anomalousPixels = count(array_filter($result['labelMap']));
    echo 'score: ', json_encode($result['score']), "\n";
    echo 'verdict: ', $result['isAnomalous'] ? 'anomalous' : 'normal', "\n";
    echo "size: $height x $width\n";
    echo "anomalous pixels: $anomalousPixels\n";
    echo 'regions: ', count($result['regions']) + $result['regionsOmitted'], "\n";
    foreach ($result['regions'] as $index => $region) { // largest score first
        [$x, $y, $width, $height] = $region['box'];
        $number = $index + 1;
        echo "region $number: x $x, y $y, width $width, height $height\n";
    }
    echo "picture: $output\n";
}

if ($argc !== 3 && $argc !== 4) {
    fwrite(STDERR, "usage: php client.php IMAGE OUTPUT.jpg [URL]\n");
    exit(2);
}
ini_set('memory_limit', '2G'); // a labelMap has one element a pixel
try {
    run($argv[1], $argv[2], $argv[3] ?? DEFAULT_URL);
} catch (RuntimeException | JsonException $error) {
    fwrite(STDERR, "error: {$error->getMessage()}\n");
    exit(1);
}
