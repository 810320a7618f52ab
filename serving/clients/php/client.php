<?php
// Ask a uad server about one image. PHP 7.4 or later with its curl extension.
//
// Install:  apt-get install php-cli php-curl
// Run:      php client.php IMAGE OUTPUT.jpg [URL]
//           php client.php --feedback LOG_ID good|defective [NOTE [URL]]
//
// If the server wants an API key, set it in the environment variable UAD_API_KEY.

declare(strict_types=1);

const DEFAULT_URL = 'http://localhost:8080/image-anomaly-detection';
const FEEDBACK_URL = 'http://localhost:8080/feedback';
const TIMEOUT_SECONDS = 60;

/** Send the bytes of an image file; return the answer with its `result`. */
function ask(string $url, string $image): array
{
    return post($url, ['image' => base64_encode($image)]);
}

/** Say that a judged image is `good` or `defective`; return the answer with its `result`. */
function say(string $url, string $logId, string $verdict, string $note): array
{
    return post($url, ['logId' => $logId, 'verdict' => $verdict, 'note' => $note]);
}

function post(string $url, array $values): array
{
    $headers = ['Content-Type: application/json'];
    if (getenv('UAD_API_KEY')) {
        $headers[] = 'Authorization: Bearer ' . getenv('UAD_API_KEY');
    }
    $curl = curl_init($url);
    curl_setopt_array($curl, [
        CURLOPT_POSTFIELDS => json_encode($values, JSON_UNESCAPED_SLASHES | JSON_THROW_ON_ERROR),
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
    return $answer;
}

function feedback(string $logId, string $verdict, string $note = '', string $url = FEEDBACK_URL): void
{
    $said = say($url, $logId, $verdict, $note)['result'];
    echo "recorded: judged {$said['judged']}, said {$said['said']}\n";
}

function analyse(string $image, string $output, string $url = DEFAULT_URL): void
{
    $data = @file_get_contents($image);
    if ($data === false) {
        throw new RuntimeException("cannot read $image");
    }
    $answer = ask($url, $data);
    $result = $answer['result'];
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
    echo "log id: {$answer['logId']}\n";
    echo "picture: $output\n";
}

$arguments = array_slice($argv, 1);
$isFeedback = ($arguments[0] ?? '') === '--feedback';
if ($isFeedback ? ($argc < 4 || $argc > 6) : ($argc < 3 || $argc > 4)) {
    fwrite(STDERR, "usage: php client.php IMAGE OUTPUT.jpg [URL]\n"
        . "       php client.php --feedback LOG_ID good|defective [NOTE [URL]]\n");
    exit(2);
}
ini_set('memory_limit', '2G'); // a labelMap has one element a pixel
try {
    $isFeedback ? feedback(...array_slice($arguments, 1)) : analyse(...$arguments);
} catch (RuntimeException | JsonException $error) {
    fwrite(STDERR, "error: {$error->getMessage()}\n");
    exit(1);
}
